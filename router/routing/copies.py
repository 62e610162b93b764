"""Examples that were copied from another owner gain nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.routing.compact import Compact
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


def without_copies(
    found: Sequence[tuple[Route, float]], query: Vectors, prior: float
) -> list[Found]:
    """The routes, nearest first, without the examples that an older one of another owner has.

    A route that has no others is left out.

    Args:
        found: routes and their scores.
        query: the request's unit vector.
        prior: what any text scores.
    """
    if len({route.owner for route, _ in found}) < 2:
        return [Found(route, near, route.rows) for route, near in found]
    looked = [_nearest(route.rows, query) for route, _ in found]
    copied = _copied_among([route for route, _ in found], looked)
    scored = []
    for (route, near), places, gone in zip(found, looked, copied, strict=True):
        if not gone.any():
            scored.append(Found(route, near, route.rows))
            continue
        kept = route.rows.without(places[gone])
        if len(kept):
            scored.append(Found(route, score(kept.floats(), query, prior), kept))
    return sorted(scored, key=lambda each: (-each.near, each.route.specialist))


def _nearest(rows: Compact, query: Vectors) -> NDArray[np.intp]:
    if len(rows) <= NEAREST:
        return np.arange(len(rows))
    return np.argsort(-rows.dot(query))[:NEAREST]


def _copied_among(
    routes: Sequence[Route], looked: Sequence[NDArray[np.intp]]
) -> list[NDArray[np.bool_]]:
    """Of each route which of the rows that are looked at an older one of another owner has."""
    by_age = sorted(range(len(routes)), key=lambda at: _age(routes[at]))
    rows = Compact.together([routes[at].rows.some(looked[at]) for at in by_age])
    sizes = [len(looked[at]) for at in by_age]
    owners = np.repeat([routes[at].owner for at in by_age], sizes)
    short = rows.floats(COARSE)
    left = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", short, short), 0))
    found, end = {}, 0
    for at, size in zip(by_age, sizes, strict=True):
        mine, older = slice(end, end + size), slice(end)
        # What two rows have in common at most, by their first coordinates: hardly ever enough.
        most = short[mine] @ short[older].T + np.outer(left[mine], left[older])
        close = (most >= COPIED) & (owners[older] != routes[at].owner)
        found[at] = close.any(axis=1)
        for row in map(int, np.flatnonzero(found[at])):
            one, others = np.array([end + row]), np.flatnonzero(close[row])
            found[at][row] = _copied(rows.some(one).floats(), rows.some(others).floats())[0]
        end += size
    return [found[at] for at in range(len(routes))]


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
