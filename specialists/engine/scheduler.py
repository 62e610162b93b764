"""Which rows the next step computes, and how many tokens of each."""

from collections import deque
from typing import Any

from specialists.engine.core import Row, Run
from specialists.engine.pages import PagePool, pages_needed
from specialists.engine.slots import SlotPool

PROMPT_SHARE = 8
"""One token in so many is kept for prompts, however many rows are decoding."""


class Scheduler:
    """Waiting and running rows, over the pages and slots that they need.

    A row runs from its admission (adapter resident and pinned, pages for its tokens) to its
    end. When pages run out the youngest running row steps back into the waiting queue; its
    tokens are kept and computed again.
    """

    def __init__(
        self, pages: PagePool, slots: SlotPool[Any], max_rows: int, max_tokens: int
    ) -> None:
        self._pages = pages
        self._slots = slots
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self.waiting: deque[Row] = deque()
        self.running: list[Row] = []
        self._step = 0

    def add(self, row: Row) -> None:
        """Queue a new row."""
        self.waiting.append(row)

    def remove(self, row: Row) -> None:
        """Take a row out, wherever it is, and free all that it holds."""
        if row in self.running:
            self.running.remove(row)
        elif row in self.waiting:
            self.waiting.remove(row)
        self._release(row)

    def schedule(self, crowded_out: str | None = None) -> list[Run]:
        """The next step's runs: decoding rows first, then prompts, within the token budget.

        Where the budget does not reach for all, the rows that were passed over longest come first,
        and prompts keep a share, so that no row waits for another's end.

        Args:
            crowded_out: the adapter that finds no room, if there is one.
        """
        self._admit(crowded_out)
        self._step += 1
        decoding = sorted((row for row in self.running if not _is_prompt(row)), key=_last_served)
        prompts = sorted(filter(_is_prompt, self.running), key=_last_served)
        kept_back = min(sum(map(_remaining, prompts)), max(self._max_tokens // PROMPT_SHARE, 1))
        runs = self._runs(decoding, self._max_tokens - kept_back)
        spent = sum(run.count for run in runs)
        runs += self._runs(prompts, self._max_tokens - spent)
        return [run for run in runs if run.row in self.running]

    def check_integrity(self) -> None:
        """Pages and pins are exactly those of the running rows.

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
            raise AssertionError("a waiting row holds pages or a pin")

    def _runs(self, rows: list[Row], budget: int) -> list[Run]:
        """Runs of these rows, in this order, while the budget lasts."""
        runs = []
        for row in rows:
            count = min(_remaining(row), budget)
            if count and row in self.running and self._grow(row, count):
                runs.append(Run(row, count))
                row.served = self._step
                budget -= count
        return runs

    def _admit(self, crowded_out: str | None) -> None:
        """Move waiting rows whose adapter is resident into the batch, oldest first.

        Those whose adapter is still being loaded are passed over. One whose adapter finds no room
        lets nobody past, so that pins drain and its turn comes.
        """
        passed: list[Row] = []
        # Pages come as prompts are computed: those that are still to come are promised already.
        reserved = sum(_needed(row) - len(row.pages) for row in self.running)
        while self.waiting and len(self.running) < self._max_rows:
            row = self.waiting.popleft()
            if row.adapter is not None and row.adapter not in self._slots:
                passed.append(row)
                if row.adapter == crowded_out:
                    break
                continue
            needed = _needed(row)
            if reserved + needed > self._pages.available:
                passed.append(row)
                break
            reserved += needed
            self._start(row)
        self.waiting.extendleft(reversed(passed))

    def _start(self, row: Row) -> None:
        if row.adapter is not None:
            self._slots.pin(row.adapter)
            row.pinned = True
        self.running.append(row)

    def _grow(self, row: Row, count: int) -> bool:
        """Give a row the pages for its next tokens; False when it had to step back."""
        missing = pages_needed(row.computed + count) - len(row.pages)
        while missing > self._pages.available:
            victim = self.running[-1]
            self._step_back(victim)
            if victim is row:
                return False
        row.pages += self._pages.allocate(max(missing, 0))
        return True

    def _step_back(self, row: Row) -> None:
        self.running.remove(row)
        self._release(row)
        row.computed = 0
        self.waiting.appendleft(row)

    def _release(self, row: Row) -> None:
        self._pages.free(row.pages)
        if row.pinned and row.adapter is not None:
            self._slots.unpin(row.adapter)
            row.pinned = False


def _is_prompt(row: Row) -> bool:
    return _remaining(row) > 1


def _last_served(row: Row) -> int:
    return row.served


def _needed(row: Row) -> int:
    """Pages for all its tokens, and for the next one."""
    return pages_needed(len(row.tokens) + 1)


def _remaining(row: Row) -> int:
    return len(row.tokens) - row.computed
