"""Exact search for the specialists whose example requests lie nearest to a text."""

from collections.abc import Sequence

import numpy as np

from router.encoder import Vectors

NEIGHBOURS = 8
NEAR_WEIGHT = 0.8
CENTRAL_WEIGHT = 0.2


class Index:
    """Example vectors of `n` groups, such as specialists; immutable.

    A group's score weighs two cosines: the mean over its nearest eight examples (such requests it
    has been asked) and that of its examples' centroid (these are its usual requests).
    """

    def __init__(self, groups: Sequence[Vectors]) -> None:
        """Take one float32 matrix [at least 1, dimensions] of unit rows per group."""
        self._sizes = np.array([len(group) for group in groups], dtype=np.intp)
        self._ends = np.cumsum(self._sizes)
        self._starts = self._ends - self._sizes
        self._rows = np.concatenate(groups) if groups else np.empty((0, 0), dtype=np.float32)
        self._centroids = np.array([_centroid(group) for group in groups], dtype=np.float32)

    def __len__(self) -> int:
        """How many example vectors there are."""
        return len(self._rows)

    def nearest(self, query: Vectors, count: int) -> list[tuple[int, float]]:
        """The `count` best groups for a unit vector: their positions and scores, best first.

        Exact: no mean over examples exceeds the cosine of the nearest one, so a score is at most
        the one with this cosine in its place, and the search stops where this bound falls below
        the scores already found.
        """
        if not len(self._rows):
            return []
        cosines = self._rows @ query
        central = CENTRAL_WEIGHT * (self._centroids @ query)
        bounds = NEAR_WEIGHT * np.maximum.reduceat(cosines, self._starts) + central
        found: list[tuple[int, float]] = []
        for group in np.argsort(-bounds, kind="stable"):
            if len(found) >= count and bounds[group] <= found[count - 1][1]:
                break
            near = np.sort(cosines[self._starts[group] : self._ends[group]])[-NEIGHBOURS:]
            found.append((int(group), float(NEAR_WEIGHT * near.mean() + central[group])))
            found.sort(key=lambda item: (-item[1], item[0]))
        return found[:count]

    def score(self, query: Vectors) -> float:
        """The best group's score for a unit vector; the index must not be empty."""
        return self.nearest(query, 1)[0][1]


def _centroid(group: Vectors) -> Vectors:
    mean: Vectors = group.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
