"""What an answer may go on with, guessed from what was said before.

As long as a step has few tokens, most of its time goes into reading the weights, and some more
tokens cost little. So it computes, beside a row's last token, those that may come next: of these it
keeps as many as are then chosen anyhow (speculative decoding: Leviathan et al., 2023). An answer is
the same as without; only its steps are fewer.

A specialist says much the same again and again, in words that it takes from the request (prompt
lookup decoding: Saxena, 2023). So guesses come from what was asked of it, and what it answered:
only for the same tenant, since how fast an answer comes tells what was said before. Where a grammar
says what must come, such as the names in an object, nothing has to be guessed.
"""

from collections import Counter
from collections.abc import Collection

from specialists.engine.core import Row, Run
from specialists.engine.guesses import Room
from specialists.engine.habits import LONGEST, Habits
from specialists.engine.pages import PAGE_TOKENS

FORCED = 0.98
"""How often text that must come next comes in the tokens that its tokenizer makes of it."""
READ, AT_ONCE = 512, 64
"""Tokens of a prompt, the last ones, that are looked at, and how many of them in a step, since
others wait for it meanwhile."""
REMEMBERED = 1 << 17
"""Contexts of all adapters and tenants."""


Likely = list[tuple[int, float]]


class Drafts:
    """Adds guesses to the runs of a step. For the engine's thread.

    Attributes:
        drafted: tokens that were guessed.
        accepted: those of them that came true.
    """

    def __init__(self, longest: int, step_tokens: int, ends: Collection[int]) -> None:
        """Take the limits.

        Args:
            longest: tokens of a draft at most, beside such as must come next, or were foretold.
            step_tokens: tokens of a step at most.
            ends: tokens that end an answer.
        """
        self._longest = longest
        self._step_tokens = step_tokens
        self._ends = ends
        self._habits: dict[bytes, Habits] = {}
        self._remembered = 0
        self.drafted = self.accepted = 0

    def learn(self, row: Row) -> None:
        """Look at some of what a row says that was not looked at so far."""
        if not self._longest:
            return
        scope = row.scope
        habits = self._habits.pop(scope) if scope in self._habits else Habits()
        self._habits[scope] = habits
        before = len(habits)
        begin = max(row.learned, row.prompt_length - READ, 1)
        row.learned = min(begin + AT_ONCE, len(row.tokens))
        span = range(begin, row.learned)
        habits.learn(row.tokens, span, row.prompt_length)
        if row.expected is not None:
            row.expected.learn(row.tokens)
        self._remembered += len(habits) - before
        while self._remembered > REMEMBERED:
            self._remembered -= len(self._habits.pop(next(iter(self._habits))))

    def added(self, runs: list[Run], room: Room | None) -> list[Run]:
        """The runs, with drafts where there is room for them.

        Not beside prompts, for which the step has been cut to measure; and not for rows that nobody
        waits for beside such as somebody does.
        """
        if room is None or not self._longest or any(run.count > 1 for run in runs):
            return runs
        absent = all(run.row.absent for run in runs)
        likely = [
            self._likely(run.row, room.chance) if run.row.absent == absent else [] for run in runs
        ]
        lengths = _shared(likely, int(min(room.tokens, self._step_tokens - len(runs))))
        self.drafted += lengths.total()
        return [
            _drafted(run, each[: lengths[at]]) if lengths[at] else run
            for at, (run, each) in enumerate(zip(runs, likely, strict=True))
        ]

    def _likely(self, row: Row, least: float) -> Likely:
        """Tokens that may come next, each with how likely all up to it are, at least `least`."""
        room = _room(row)
        if row.grammar is None or room <= 0:
            return self._guessed(row, [], room, least)
        forced = [(token, FORCED) for token in row.grammar.forced()[:room]]
        found = self._guessed(row, forced, room, least)
        return found[: row.grammar.fitting([token for token, _ in found])]

    def _guessed(self, row: Row, forced: Likely, room: int, least: float) -> Likely:
        """What must come, and then what was foretold, or else, as long as they are few, may."""
        habits, found = self._habits.get(row.scope), [*forced]
        chance = forced[-1][1] if forced else 1.0
        tokens = [*row.tokens[-LONGEST:], *(token for token, _ in forced)]
        while len(found) < room and tokens[-1] not in self._ends:
            before = tokens[-LONGEST:]
            guess = row.expected.after(before, len(found)) if row.expected else None
            if guess is None and habits is not None and len(found) < self._longest:
                guess = habits.after(before)
            if guess is None or chance * guess[1] < least:
                break
            chance *= guess[1]
            found.append((guess[0], chance))
            tokens.append(guess[0])
        return found


def _room(row: Row) -> int:
    """Tokens that a row can go on with, on the pages that it has."""
    if not row.generated:
        return 0
    return min(
        len(row.pages) * PAGE_TOKENS - len(row.tokens), row.params.max_tokens - row.generated - 1
    )


def _drafted(run: Run, guesses: Likely) -> Run:
    return Run(run.row, run.count, tuple(token for token, _ in guesses))


def _shared(likely: list[Likely], places: int) -> Counter[int]:
    """How many of each row's guesses a step takes: those that are likeliest of all."""
    best = sorted(
        (-chance, depth, at)
        for at, each in enumerate(likely)
        for depth, (_, chance) in enumerate(each)
    )
    return Counter(at for _, _, at in best[: max(places, 0)])
