"""Examples that were copied from another owner gain nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.routing.compact import Compact, Halves
from router.routing.encoder import Vectors
from router.routing.index import COARSE, score
from router.routing.route import Route

SAME = 0.98
"""Cosine from which on two texts ask the same, in other spelling or punctuation at most."""
COPIED = 0.93
"""The same of two owners' examples: with a word more or less they still ask the same."""
NEAREST = 32
"""Examples of a route that are looked at: a copy far from the request brings it nothing anyway."""


@dataclass(frozen=True, slots=True)
class Found:
    """A route that may fit, how near it is, and the examples that say so."""

    route: Route
    near: float
    rows: Compact


class Originals:
    """Some routes by their own examples: without those that an older one of another owner has."""

    def __init__(self, found: Sequence[Found], query: Vectors, prior: float) -> None:
        """Take the routes.

        Args:
            found: what may fit.
            query: the request's unit vector.
            prior: what any text scores.
        """
        self._query, self._prior = query, prior
        by_age = sorted(found, key=lambda each: _age(each.route))
        halves = Halves.of(query)
        self._looked = {each.route: _nearest(each.rows, halves) for each in by_age}
        sizes = [len(places) for places in self._looked.values()]
        self._ends = dict(zip(self._looked, map(int, np.cumsum(sizes)), strict=True))
        self._owners = np.repeat([route.owner for route in self._looked], sizes)
        self._rows = Compact.together([each.rows.some(self._looked[each.route]) for each in by_age])
        self._short = self._rows.floats(COARSE)
        shares = np.einsum("ij,ij->i", self._short, self._short)
        self._left = np.sqrt(np.maximum(1 - shares, 0))

    def of(self, found: Found) -> Found | None:
        """One of the routes, by its own examples alone; None where it has none."""
        gone = self._copied(found.route)
        if not gone.any():
            return found
        kept = found.rows.without(self._looked[found.route][gone])
        if not len(kept):
            return None
        near = score(kept.floats(), self._query, self._prior)
        return Found(found.route, near, kept)

    def _copied(self, route: Route) -> NDArray[np.bool_]:
        """Which of a route's rows that are looked at an older one of another owner has."""
        end = self._ends[route]
        start = end - len(self._looked[route])
        mine, older = slice(start, end), slice(start)
        # What two rows have in common at most, by their first coordinates: hardly ever enough.
        most = self._short[mine] @ self._short[older].T
        most += np.outer(self._left[mine], self._left[older])
        close = (most >= COPIED) & (self._owners[older] != route.owner)
        copied: NDArray[np.bool_] = close.any(axis=1)
        for row in map(int, np.flatnonzero(copied)):
            one, others = np.array([start + row]), np.flatnonzero(close[row])
            pair = self._rows.some(one).floats(), self._rows.some(others).floats()
            copied[row] = _copied(*pair)[0]
        return copied


def _nearest(rows: Compact, query: Halves) -> NDArray[np.intp]:
    if len(rows) <= NEAREST:
        return np.arange(len(rows))
    return np.argsort(-rows.dot(query))[:NEAREST]


def originals(route: Route, others: Sequence[Route]) -> Vectors:
    """A route's examples that no older route of another owner among `others` has, float32."""
    rows = route.vectors
    older = [
        each.vectors for each in others if each.owner != route.owner and _age(each) < _age(route)
    ]
    return rows[~_copied(rows, np.concatenate(older))] if older else rows


def _age(route: Route) -> tuple[float, str]:
    return route.since, route.specialist


def distinct(vectors: Vectors) -> Vectors:
    """The rows that are not the same as one before them."""
    same = np.tril(vectors @ vectors.T >= SAME, k=-1)
    kept: list[int] = []
    for row in range(len(vectors)):
        if not same[row, kept].any():
            kept.append(row)
    return vectors[kept]


def _copied(rows: Vectors, others: Vectors) -> NDArray[np.bool_]:
    if not len(others):
        return np.zeros(len(rows), dtype=np.bool_)
    copied: NDArray[np.bool_] = (rows @ others.T).max(axis=1) >= COPIED
    return copied
