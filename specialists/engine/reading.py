"""What it takes to read prompts: to begin, for each token, and for each that it looks back at."""

from collections.abc import Iterable
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specialists.engine.means import KEPT

UNITS = np.array([1.0, 1e2, 1e6])
"""In which beginnings, tokens and pairs are counted: where measurements do not tell them apart, the
tokens took most of the time."""
START, TOKENS, PAIRS = range(3)
TRIED = ([START, TOKENS, PAIRS], [TOKENS, PAIRS], [START, TOKENS], [TOKENS])

Floats = NDArray[np.float64]


class Part(NamedTuple):
    """Tokens of a prompt that a step reads, and how many come before them."""

    tokens: int
    before: int = 0

    @property
    def pairs(self) -> float:
        """Of a token and one that it looks at."""
        return self.tokens * (self.before + self.tokens / 2)


class Reading:
    """Costs by least squares over what was measured, of which older ones count less."""

    def __init__(self) -> None:
        self._products = np.zeros((3, 3))
        self._sums = np.zeros(3)
        self._found: Floats | None = None

    def add(self, parts: Iterable[Part], seconds: float) -> None:
        """Take in what it took to read these in one step; there is at least one."""
        features = _features(parts)
        self._products = KEPT * self._products + np.outer(features, features)
        self._sums = KEPT * self._sums + features * seconds
        self._found = None

    def seconds(self, parts: Iterable[Part]) -> float:
        """What it takes to read these in one step."""
        return float(self._costs @ _features(parts))

    def within(self, seconds: float, before: int) -> float:
        """So many tokens, after as many, are read in that time; below zero if none are."""
        start, token, pair = map(float, self._costs / UNITS)
        # The positive root of pair/2·n² + (token + pair·before)·n = seconds - start.
        left, slope = seconds - start, token + pair * before
        return 2 * left / (slope + sqrt(max(slope**2 + 2 * pair * left, 0.0)))

    @property
    def _costs(self) -> Floats:
        """Seconds for each unit; none is negative."""
        if self._found is None:
            self._found = next(filter(_plausible, map(self._solved, TRIED)))
        return self._found

    def _solved(self, features: list[int]) -> Floats:
        """By these features, as if others cost nothing; to read nothing takes no time."""
        products = self._products.copy()
        products[START, START] += 1
        some = products[np.ix_(features, features)]
        found = np.zeros(3)
        found[features] = np.linalg.lstsq(some, self._sums[features], rcond=None)[0]
        return found


def _plausible(costs: Floats) -> bool:
    return bool((costs >= 0).all() and costs[TOKENS] > 0)


def _features(parts: Iterable[Part]) -> Any:
    some = list(parts)
    counted = 1.0, sum(part.tokens for part in some), sum(part.pairs for part in some)
    return np.array(counted) / UNITS
