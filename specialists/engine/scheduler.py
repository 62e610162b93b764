"""Which rows the next step computes, and how many tokens of each."""

from collections import Counter, deque
from itertools import islice
from typing import Any

from specialists.engine.core import Row, Run
from specialists.engine.pace import TOGETHER, Pace
from specialists.engine.pages import PAGE_TOKENS, PagePool, page_keys, pages_needed
from specialists.engine.shares import GENERATED, Shares, by_tenant, shared
from specialists.engine.slots import SlotPool

PROMPT_SHARE = 8
"""One token in so many is kept for prompts, however many rows are decoding."""
SCORED_TOKENS = 64
"""Of all prompts in one step, after each of which logits are wanted: so many take 12 MiB with a
usual vocabulary, and are nearly as quick, token by token, as more."""
ABSENT_STEPS = 4
"""Of so many steps one is for rows that nobody waits for too, beside those that somebody does."""


class Scheduler:
    """Waiting and running rows, over the pages and slots that they need.

    A row runs from its admission (adapter resident and pinned, pages for its tokens) to its
    end. When pages run out the youngest running row steps back into the waiting queue; its
    tokens are kept and computed again. Those that nobody waits for do so first.
    """

    def __init__(
        self,
        pages: PagePool,
        slots: SlotPool[Any],
        max_rows: int,
        max_tokens: int,
        pace: Pace,
    ) -> None:
        self._pages = pages
        self._slots = slots
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._pace = pace
        self._shares = Shares()
        self.waiting: deque[Row] = deque()
        self.running: list[Row] = []
        self._step = 0
        self._scored = SCORED_TOKENS
        """Tokens of prompts that the step may still have after which logits are wanted."""
        self._read: dict[str | None, int] = {}
        """When prompts of a tenant that has some were read last."""
        self.cached = 0
        """Tokens that did not have to be computed, of all rows."""

    def add(self, row: Row) -> None:
        """Queue a new row."""
        self._shares.arrives(row.tenant, {each.tenant for each in [*self.running, *self.waiting]})
        self.waiting.append(row)

    def next_rows(self, count: int) -> list[Row]:
        """The waiting rows that are admitted first, as things stand."""
        return list(islice(self._shares.ordered(self.waiting), count))

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
        and prompts keep a share, so that no row waits for another's end. Prompts take so little of
        a step that who is reading an answer hardly notices them, and so do the rows of a tenant
        with many beside those of one with few. Rows that nobody waits for stand still in most steps
        while somebody waits for others.

        Args:
            crowded_out: the adapter that finds no room, if there is one.
        """
        self._admit(crowded_out)
        self._step += 1
        self._scored = SCORED_TOKENS
        rows = sorted(self._moving(), key=_last_served)
        decoding = [row for row in rows if not _is_prompt(row)]
        prompts = list(filter(_is_prompt, rows))
        kept_back = min(sum(map(_remaining, prompts)), max(self._max_tokens // PROMPT_SHARE, 1))
        runs = self._runs(self._fair(decoding), self._max_tokens - kept_back)
        runs += self._prompt_runs(prompts, decoding, len(runs))
        return [run for run in runs if run.row in self.running]

    def computed(self, row: Row, count: int) -> None:
        """Note what was computed of a row, and let others share the pages that it filled."""
        before = row.computed // PAGE_TOKENS
        row.computed += count
        self._shares.count(row.tenant, GENERATED if count == 1 else count)
        full = row.computed // PAGE_TOKENS
        if full == before:
            return
        row.keys = page_keys(row.scope, row.tokens, row.keys)
        for at in range(before, full):
            self._pages.publish(row.pages[at], row.keys[at])

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
            count = min(_remaining(row), budget, self._scored if row.is_scoring else budget)
            if count > 0 and row in self.running and self._grow(row, count):
                runs.append(Run(row, count))
                row.served = self._step
                budget -= count
                self._scored -= count if row.is_scoring else 0
        return runs

    def _moving(self) -> list[Row]:
        """The running rows of which the step may compute something."""
        awaited = [row for row in self.running if not row.absent]
        return awaited if awaited and self._step % ABSENT_STEPS else self.running

    def _fair(self, decoding: list[Row]) -> list[Row]:
        """The decoding rows that a step takes; those that nobody waits for fill it up at most."""
        awaited = self._even([row for row in decoding if not row.absent])
        absent = self._even([row for row in decoding if row.absent])
        places = self._pace.rows_beside(len(awaited)) if awaited and absent else None
        return awaited + (absent if places is None else shared(absent, places - len(awaited)))

    def _even(self, decoding: list[Row]) -> list[Row]:
        """Of several tenants' rows those that a step takes, so that few are not slowed by many."""
        kinds = {row.absent for row in decoding}
        rows = Counter(row.tenant for row in self.running if row.absent in kinds)
        if len(rows) < 2:
            return decoding
        places = self._pace.rows_beside(min(rows.values()))
        return decoding if places is None else shared(decoding, max(places, len(rows)))

    def _prompt_runs(self, prompts: list[Row], decoding: list[Row], reading: int) -> list[Run]:
        """What a step reads of prompts beside so many rows that decode."""
        runs: list[Run] = []
        left, spent, before, self._read = self._max_tokens - reading, 0, self._read, {}
        for tenant, rows in self._by_share(prompts):
            last = before.get(tenant, self._step - TOGETHER)
            most = self._pace.prompt_tokens(
                self._patience(rows[0], decoding), reading, rows[0].computed, self._step - last
            )
            added = self._runs(rows, (left if most is None else min(left, most)) - spent)
            self._read[tenant] = self._step if added else last
            spent += sum(run.count for run in added)
            runs += added
        return runs

    def _by_share(self, prompts: list[Row]) -> list[tuple[str | None, list[Row]]]:
        """Prompts by their tenants, whoever was served least first."""
        return sorted(by_tenant(prompts).items(), key=lambda each: self._shares.rank(each[1][0]))

    def _patience(self, prompt: Row, decoding: list[Row]) -> float | None:
        """Seconds that a step may take for a tenant's prompts, by those who read meanwhile.

        Whoever comes before this tenant is not slowed down where it could be avoided.
        """
        own = self._shares.rank(prompt)
        readers = by_tenant(row for row in decoding if prompt.absent or not row.absent)
        known = [
            self._pace.patience(len(rows), strict=self._shares.rank(rows[0]) < own)
            for rows in readers.values()
        ]
        return min((each for each in known if each is not None), default=None)

    def _admit(self, crowded_out: str | None) -> None:
        """Move waiting rows whose adapter is resident into the batch, by shares, oldest first.

        Those whose adapter is still being loaded are passed over. One whose adapter finds no room
        lets nobody past, so that pins drain and its turn comes.
        """
        underway, served = self._underway(), set[str | None]()
        for row in self._shares.ordered(self.waiting):
            if row.tenant in served:
                continue
            if len(self.running) >= self._max_rows and not self._make_room(row):
                served.add(row.tenant)
                continue
            if row.adapter is not None and row.adapter not in self._slots:
                if row.adapter == crowded_out:
                    break
                continue
            keys = _prompt_keys(row)
            row.pages = self._pages.take(keys)
            if len(row.pages) < len(keys) and keys[len(row.pages)] in underway:
                # Somebody computes what it goes on with: it is there in a moment.
                self._pages.free(row.pages)
                continue
            if not self._has_pages(row):
                self._pages.free(row.pages)
                break
            self._start(row)
            underway.update(row.keys[len(row.pages) :])

    def _has_pages(self, row: Row) -> bool:
        """Whether there are pages for a row, beside those that are promised to others."""
        while self._promised() + _needed(row) - len(row.pages) > self._pages.available:
            if not self._make_room(row):
                return False
        return True

    def _promised(self) -> int:
        """Pages that are still to come as prompts are computed."""
        return sum(_needed(row) - len(row.pages) for row in self.running)

    def _make_room(self, row: Row) -> bool:
        """Let another row step back for this one.

        It is the youngest that nobody waits for, or else that of the tenant with most for one of a
        tenant with few.
        """
        absent = [each for each in self.running if each.absent]
        if absent and not row.absent:
            self._step_back(absent[-1])
            return True
        likes = absent if row.absent else self.running
        rows = Counter(each.tenant for each in likes)
        most = max(rows, key=rows.__getitem__, default=row.tenant)
        if rows[most] < rows[row.tenant] + 2:
            return False
        self._step_back(next(each for each in reversed(likes) if each.tenant == most))
        return True

    def _underway(self) -> set[bytes]:
        """Keys of the pages that prompts will have filled, but have not so far."""
        return {
            key
            for row in self.running
            if _is_prompt(row)
            for key in row.keys[row.computed // PAGE_TOKENS :]
        }

    def _start(self, row: Row) -> None:
        row.computed = len(row.pages) * PAGE_TOKENS
        self.cached += row.computed
        if not row.generated:
            row.cached = row.computed
        self.waiting.remove(row)
        if row.adapter is not None:
            self._slots.pin(row.adapter)
            row.pinned = True
        self.running.append(row)

    def _grow(self, row: Row, count: int) -> bool:
        """Give a row the pages for its next tokens; False when it had to step back."""
        missing = pages_needed(row.computed + count) - len(row.pages)
        while missing > self._pages.available:
            absent = [each for each in self.running if each.absent]
            victim = (absent or self.running)[-1]
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


def _prompt_keys(row: Row) -> list[bytes]:
    """Keys of the pages that could be shared: at least one token must be computed.

    None where logits are wanted of the prompt's tokens, which are not kept.
    """
    row.keys = page_keys(row.scope, row.tokens, row.keys)
    return [] if row.is_scoring else row.keys[: (len(row.tokens) - 1) // PAGE_TOKENS]


def _is_prompt(row: Row) -> bool:
    return _remaining(row) > 1


def _last_served(row: Row) -> int:
    return row.served


def _needed(row: Row) -> int:
    """Pages for all its tokens, and for the next one."""
    return pages_needed(len(row.tokens) + 1)


def _remaining(row: Row) -> int:
    return len(row.tokens) - row.computed
