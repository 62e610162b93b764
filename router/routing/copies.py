"""Examples that were copied from another owner gain nothing."""

from collections.abc import Sequence

import numpy as np

from router.routing.encoder import Vectors
from router.routing.index import score
from router.routing.snapshot import Route

SAME = 0.98
"""Cosine from which on two texts ask the same, in other spelling or punctuation at most."""
NEAREST = 32
"""Examples of a route that are looked at: a copy far from the request brings it nothing anyway."""

Found = Sequence[tuple[Route, float]]


def without_copies(found: Found, query: Vectors, prior: float) -> list[tuple[Route, float]]:
    """The routes, best first, scored without the examples that an older route of another owner has.

    Args:
        found: routes and their scores.
        query: the request's unit vector.
        prior: what any text scores.
    """
    if len({route.owner for route, _ in found}) < 2:
        return list(found)
    by_age = sorted(found, key=lambda pair: (pair[0].since, pair[0].specialist))
    older: list[tuple[str, Vectors]] = []
    scored = []
    for route, before in by_age:
        rows = route.vectors.astype(np.float32, copy=False)
        near = np.argsort(-(rows @ query))[:NEAREST]
        theirs = [others for owner, others in older if owner != route.owner]
        copied = _copied(rows[near], theirs)
        kept = np.delete(rows, near[copied], axis=0)
        older.append((route.owner, rows[near]))
        scored.append((route, score(kept, query, prior) if copied.any() else before))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].specialist))


def distinct(vectors: Vectors) -> Vectors:
    """The rows that are not the same as one before them."""
    same = np.tril(vectors @ vectors.T >= SAME, k=-1)
    kept: list[int] = []
    for row in range(len(vectors)):
        if not same[row, kept].any():
            kept.append(row)
    return vectors[kept]


def _copied(rows: Vectors, others: Sequence[Vectors]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not others:
        return np.zeros(len(rows), dtype=np.bool_)
    nearest: Vectors = (rows @ np.concatenate(others).T).max(axis=1)
    copied: np.ndarray[tuple[int], np.dtype[np.bool_]] = nearest >= SAME
    return copied
