"""Exact search for the specialists whose example requests lie nearest to a text."""

from collections.abc import Sequence

import numpy as np

from router.encoder import Vectors

NEIGHBOURS = 3


class Index:
    """Example vectors of `n` specialists, grouped by specialist; immutable.

    A specialist scores the mean of two cosines: that of its nearest three examples (it has asked
    for such requests) and that of its examples' centroid (they are its usual requests).
    """

    def __init__(self, groups: Sequence[Vectors]) -> None:
        """Take one float32 matrix [at least 1, dimensions] of unit rows per specialist."""
        self._sizes = np.array([len(group) for group in groups], dtype=np.intp)
        self._ends = np.cumsum(self._sizes)
        self._starts = self._ends - self._sizes
        self._rows = np.concatenate(groups) if groups else np.empty((0, 0), dtype=np.float32)
        self._centroids = np.array([_centroid(group) for group in groups], dtype=np.float32)

    def __len__(self) -> int:
        """How many example vectors there are."""
        return len(self._rows)

    def nearest(self, query: Vectors, count: int) -> list[tuple[int, float]]:
        """The `count` best specialists for a unit vector: their positions and scores, best first.

        Exact: a score is at most the mean of the nearest example's and the centroid's cosine, so
        the search stops where this bound falls below the scores already found.
        """
        if not len(self._rows):
            return []
        cosines = self._rows @ query
        central = self._centroids @ query
        bounds = (np.maximum.reduceat(cosines, self._starts) + central) / 2
        found: list[tuple[int, float]] = []
        for group in np.argsort(-bounds, kind="stable"):
            if len(found) >= count and bounds[group] <= found[count - 1][1]:
                break
            near = np.sort(cosines[self._starts[group] : self._ends[group]])[-NEIGHBOURS:]
            found.append((int(group), float((near.mean() + central[group]) / 2)))
            found.sort(key=lambda item: (-item[1], item[0]))
        return found[:count]


def _centroid(group: Vectors) -> Vectors:
    mean: Vectors = group.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
