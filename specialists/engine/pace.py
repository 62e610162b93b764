"""How fast an engine is, as it measures itself while it works."""

from collections.abc import Sequence

from specialists.engine.guesses import Guesses
from specialists.engine.means import Mean
from specialists.engine.reading import Part, Reading

SLOWDOWN = 1.6
"""Of a step, that a row may suffer from others' prompts, or from another tenant's rows."""
NOTICED_SECONDS = 0.04
"""A shorter step is noticed by nobody who reads: 25 tokens a second are too many for that."""
TOGETHER = 16
"""Tokens of prompts that are read at once, every so many steps, where not even one fits a step: to
begin may cost more than all of them."""
LEAST_PROMPT = 64
"""Tokens of prompts that a step without readers computes however long they take, and of which it
computes whole multiples: fewer, or a few more, cost nearly as much."""


class Steps:
    """What a step takes by its rows, measured apart for one, two, up to four, eight, … of them."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Mean, Mean]] = {}

    def add(self, rows: int, seconds: float) -> None:
        """A step computed one token for each of so many rows."""
        means = self._found.setdefault(_class(rows), (Mean(0.0), Mean(0.0)))
        for mean, value in zip(means, (rows, seconds), strict=True):
            mean.add(value)

    def seconds(self, rows: int) -> float | None:
        """What a step of so many rows takes, by those like it or else by all; None is unknown."""
        if not self._found:
            return None
        start, slope = self.line
        if self.knows(rows):
            measured, took = self._found[_class(rows)]
            return took.value + slope * (rows - measured.value)
        return start + slope * rows

    def knows(self, rows: int) -> bool:
        """Whether steps of about so many rows were measured."""
        return _class(rows) in self._found

    @property
    def line(self) -> tuple[float, float]:
        """What a step takes without any row, and what each adds: by the fewest and by the most."""
        points = sorted((rows.value, seconds.value) for rows, seconds in self._found.values())
        if not points:
            return 0.0, 0.0
        (few, quick), (many, slow) = points[0], points[-1]
        slope = max((slow - quick) / (many - few), 0.0) if many > few else 0.0
        return max(quick - slope * few, 0.0), slope

    def within(self, seconds: float) -> int | None:
        """The most rows that were measured to take no longer; None if all that were do not."""
        few, quick = 0.0, 0.0
        for many, slow in sorted((rows.value, took.value) for rows, took in self._found.values()):
            if slow > seconds:
                return int(few + (many - few) * (seconds - quick) / (slow - quick))
            few, quick = many, slow
        return None


class Pace:
    """What a step, a load and an answer take here. For one thread to write and any to read."""

    def __init__(self) -> None:
        self._steps = Steps()
        self._load = Mean(0.1)
        self._answer = Mean(64.0)
        self._reading: Reading | None = None
        self.guesses = Guesses()
        self.loads = 0
        """Adapters that became resident."""

    def stepped(self, rows: int, prompts: Sequence[Part], seconds: float, guessed: int = 0) -> None:
        """A step computed a token of each of so many rows, and parts of prompts or guesses."""
        if prompts:
            self._read(rows, prompts, seconds)
            return
        self.guesses.stepped(rows, guessed, seconds)
        if not guessed:
            self._steps.add(rows, seconds)

    def _read(self, rows: int, prompts: Sequence[Part], seconds: float) -> None:
        """Of steps that do both what is known better is taken as it is, the rest is the other's."""
        if rows and not self._steps.knows(rows):
            if self._reading is not None:
                self._steps.add(rows, max(seconds - self._reading.seconds(prompts), 0.0))
            return
        decoding = (rows and self._steps.seconds(rows)) or 0.0
        if seconds > decoding:
            self._reading = self._reading or Reading()
            self._reading.add(prompts, seconds - decoding)

    def patience(self, rows: int, *, strict: bool) -> float | None:
        """Seconds that whoever reads so many rows lets a step take for others; None is unknown.

        Args:
            rows: of one tenant.
            strict: whether a step that is not noticed is one too many as well.
        """
        own = self._steps.seconds(rows)
        if own is None:
            return None
        return SLOWDOWN * own if strict else max(SLOWDOWN * own, NOTICED_SECONDS)

    def prompt_tokens(
        self, patience: float | None, rows: int, before: int = 0, waited: int = TOGETHER
    ) -> int | None:
        """Tokens of a prompt, after so many, that fit a step beside rows; None is unknown.

        Args:
            patience: seconds that the step may take.
            rows: that are decoding.
            before: tokens that come before them.
            waited: steps since the last one that read of the tenant's prompts.
        """
        if self._reading is None or (rows and patience is None):
            return None
        if not rows:
            fitting = self._reading.within(NOTICED_SECONDS, before)
            return max(round(fitting / LEAST_PROMPT), 1) * LEAST_PROMPT
        decoding = self._steps.seconds(rows) or 0.0
        fitting = int(self._reading.within((patience or 0.0) - decoding, before))
        if fitting > 0:
            return fitting
        return TOGETHER if waited >= TOGETHER else 0

    def rows_beside(self, rows: int) -> int | None:
        """Rows whose step takes no more than `SLOWDOWN` times that of so many; None is unknown."""
        own = self._steps.seconds(rows)
        return None if own is None else self._steps.within(SLOWDOWN * own)

    def loaded(self, seconds: float) -> None:
        """An adapter became resident so long after it was first wanted."""
        self.loads += 1
        self._load.add(seconds)

    def answered(self, tokens: int) -> None:
        """An answer ended after so many tokens."""
        self._answer.add(tokens)

    @property
    def step_seconds(self) -> tuple[float, float]:
        """Of a step: without any row, and what each row adds."""
        return self._steps.line

    @property
    def load_seconds(self) -> float:
        """Until an adapter is resident."""
        return self._load.value

    @property
    def answer_tokens(self) -> float:
        """Of an answer."""
        return self._answer.value


def _class(rows: int) -> int:
    """Numbers of rows that are measured together: 1, 2, 3 to 4, 5 to 8, and so on."""
    return (rows - 1).bit_length()
