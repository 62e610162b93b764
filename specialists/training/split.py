"""Rows to learn from and rows to judge by, with none in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from specialists.errors import TrainingDataError
from specialists.training.lessons import Lesson

FEWEST = 20
"""Of fewer rows none are held out: each is needed to learn from."""
SHARE = 0.1
MOST = 100


@dataclass(frozen=True, slots=True)
class Split:
    """Rows apart; `repeated` of those to learn from were left out: they are held out too."""

    learnt: list[Lesson]
    held: list[Lesson]
    repeated: int


def held_apart(rows: Sequence[Lesson], validation: Sequence[Lesson]) -> Split:
    """Take what is judged by out of what is learnt from.

    Raises:
        TrainingDataError: nothing else would be left to learn from.
    """
    held = set(validation)
    learnt = [row for row in rows if row not in held]
    if not learnt:
        raise TrainingDataError(
            "every row to learn from is also a row to judge by: the result would say nothing; "
            "send other rows, or no validation file (some rows are then held out)"
        )
    return Split(learnt, list(validation), len(rows) - len(learnt))


def hold_out(rows: Sequence[Lesson], seed: int) -> Split:
    """Hold some rows out, drawn by their requests: no request is on both sides."""
    requests = list(dict.fromkeys(row.request for row in rows))
    if len(requests) < FEWEST:
        return Split(list(rows), [], 0)
    count = min(MOST, round(SHARE * len(requests)))
    drawn = set(Random(f"held out {seed}").sample(requests, count))  # noqa: S311 (no secret is made)
    held = [row for row in rows if row.request in drawn]
    return Split([row for row in rows if row.request not in drawn], held, 0)
