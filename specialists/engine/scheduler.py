"""Which sequences the next step computes, and how many tokens of each."""

from collections import deque

from specialists.engine.core import Run, Sequence
from specialists.engine.pages import PagePool, pages_needed
from specialists.engine.slots import SlotPool


class Scheduler:
    """Waiting and running sequences, over the pages and slots that they need.

    A sequence runs from its admission (adapter resident and pinned, pages for its tokens) to its
    end. When pages run out the youngest running sequence steps back into the waiting queue; its
    tokens are kept and computed again.
    """

    def __init__(self, pages: PagePool, slots: SlotPool, max_rows: int, max_tokens: int) -> None:
        self._pages = pages
        self._slots = slots
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is, and free all that it holds."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def schedule(self, crowded_out: str | None = None) -> list[Run]:
        """The next step's runs: all decoding rows first, then prompts within the token budget.

        Args:
            crowded_out: the adapter that is loaded but finds no room, if there is one.
        """
        self._admit(crowded_out)
        runs: list[Run] = []
        budget = self._max_tokens
        for sequence in sorted(self.running, key=_is_prefill):
            count = min(_remaining(sequence), budget)
            if count and sequence in self.running and self._grow(sequence, count):
                runs.append(Run(sequence, count))
                budget -= count
        return [run for run in runs if run.sequence in self.running]

    def check_integrity(self) -> None:
        """Pages and pins are exactly those of the running sequences.

        Raises:
            AssertionError: something was lost or is held twice.
        """
        self._pages.check_integrity([page for row in self.running for page in row.pages])
        pins: dict[str, int] = {}
        for row in self.running:
            if row.adapter is not None:
                pins[row.adapter] = pins.get(row.adapter, 0) + 1
        self._slots.check_integrity(pins)
        if any(row.pages or row.pinned for row in self.waiting):
            raise AssertionError("a waiting sequence holds pages or a pin")

    def _admit(self, crowded_out: str | None) -> None:
        """Move waiting sequences whose adapter is resident into the batch, oldest first.

        Those whose adapter is still being loaded are passed over. One whose adapter finds no room
        lets nobody past, so that pins drain and its turn comes.
        """
        passed: list[Sequence] = []
        reserved = 0
        while self.waiting and len(self.running) < self._max_rows:
            sequence = self.waiting.popleft()
            if sequence.adapter is not None and sequence.adapter not in self._slots:
                passed.append(sequence)
                if sequence.adapter == crowded_out:
                    break
                continue
            needed = pages_needed(len(sequence.tokens) + 1)
            if reserved + needed > self._pages.available:
                passed.append(sequence)
                break
            reserved += needed
            self._start(sequence)
        self.waiting.extendleft(reversed(passed))

    def _start(self, sequence: Sequence) -> None:
        if sequence.adapter is not None:
            self._slots.pin(sequence.adapter)
            sequence.pinned = True
        self.running.append(sequence)

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Give a sequence the pages for its next tokens; False when it had to step back."""
        missing = pages_needed(sequence.computed + count) - len(sequence.pages)
        while missing > self._pages.available:
            victim = self.running[-1]
            self._step_back(victim)
            if victim is sequence:
                return False
        sequence.pages += self._pages.allocate(max(missing, 0))
        return True

    def _step_back(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        sequence.computed = 0
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._pages.free(sequence.pages)
        if sequence.pinned and sequence.adapter is not None:
            self._slots.unpin(sequence.adapter)
            sequence.pinned = False


def _is_prefill(sequence: Sequence) -> bool:
    return _remaining(sequence) > 1


def _remaining(sequence: Sequence) -> int:
    return len(sequence.tokens) - sequence.computed
