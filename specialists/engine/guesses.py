"""What guessed tokens take, and so how likely one must be to be worth it."""

from collections import defaultdict
from math import inf
from typing import NamedTuple

from specialists.engine.means import Mean

SLOWDOWN = 1.5
"""Of a step, that a row may suffer from guesses, which may all be others'."""
ASSUMED, LOOKS = 0.3, 8.0
"""What a guess takes, in shares of a row's time, and as how many measurements that counts."""
LEAST, SURE, DEAR = 0.05, 0.95, 2.0
"""Shares that are believed at least, at most that nothing would be tried again, and at most of one
measurement: it may have been held up by something else."""
KNOWN, CHECKED = 4, 16
"""Steps without guesses that are looked at first, and steps with them until the next without."""
KEPT = 0.9
"""Of steps without guesses that were measured before, at every new one."""


class Room(NamedTuple):
    """For guesses in a step: how likely each must be, and how many at most."""

    chance: float
    tokens: float


class Guesses:
    """Measures steps with guesses by those of as many rows without any."""

    def __init__(self) -> None:
        self._plain: dict[int, Mean] = {}
        self._shares: defaultdict[int, Mean] = defaultdict(lambda: Mean(ASSUMED, LOOKS))
        self._since: defaultdict[int, int] = defaultdict(int)

    def stepped(self, rows: int, guessed: int, seconds: float) -> None:
        """A step computed a token of each of so many rows, and so many guesses."""
        if not guessed:
            self._plain.setdefault(rows, Mean(0.0, kept=KEPT)).add(seconds)
            self._since[rows] = 0
        elif rows in self._plain and (plain := self._plain[rows].value) > 0:
            share = (seconds - plain) / plain * rows / guessed
            self._shares[_class(rows)].add(min(max(share, 0.0), DEAR))
            self._since[rows] += 1

    def room(self, rows: int) -> Room | None:
        """For guesses beside so many rows; None where a step is wanted to measure them by.

        One that comes true is a token more, which would have taken a row's time. Who is alone keeps
        nobody waiting by them.
        """
        plain = self._plain.get(rows)
        if plain is None or plain.count < KNOWN or self._since[rows] >= CHECKED:
            return None
        share = min(max(self._shares[_class(rows)].value, LEAST), SURE)
        return Room(share, (SLOWDOWN - 1) * rows / share if rows > 1 else inf)


def _class(rows: int) -> int:
    """Numbers of rows beside which guesses are measured together: 1, 2, 3 to 4, and so on."""
    return (rows - 1).bit_length()
