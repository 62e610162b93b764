"""Exact search for the groups of example requests that lie nearest to a text.

A group's score weighs two cosines: the mean over its nearest eight examples (such requests it has
been asked) and that of its examples' centroid (these are its usual requests). A group of fewer
than eight has shown less, so its score counts by the share of eight that it has; the rest is the
score that any text has, the prior.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors

NEIGHBOURS = 8
NEAR_WEIGHT = 0.8
CENTRAL_WEIGHT = 0.2
CHUNK_ROWS = 4096
BLOCK = 64
"""Groups whose scores are first computed in full; more when these do not settle the search."""


class Rows:
    """Float32 rows that are only ever added to and never move, so that views of them stay good."""

    def __init__(self) -> None:
        # The place of a chunk's first row, and the chunk.
        self._chunks: list[tuple[int, Vectors]] = []
        self._used = 0

    @property
    def end(self) -> int:
        """Places taken so far, unused ones at the ends of chunks included."""
        return self._chunks[-1][0] + self._used if self._chunks else 0

    def append(self, rows: Vectors) -> tuple[int, Vectors]:
        """Add rows that stay together; returns the place of the first, and a view of all."""
        if not self._chunks or self._used + len(rows) > len(self._chunks[-1][1]):
            self._open(max(CHUNK_ROWS, len(rows)), rows.shape[1])
        view = self._chunks[-1][1][self._used : self._used + len(rows)]
        view[:] = rows
        self._used += len(rows)
        return self.end - len(rows), view

    def dot(self, query: Vectors, end: int) -> Vectors:
        """Products of the rows before the place `end` with a query, float32 [end]."""
        products = np.empty(end, dtype=np.float32)
        for start, chunk in self._chunks:
            if start < end:
                stop = min(start + len(chunk), end)
                np.dot(chunk[: stop - start], query, out=products[start:stop])
        return products

    def _open(self, size: int, dimensions: int) -> None:
        # What is left of the chunk before stays zero. It may loosen a bound, never tighten one.
        start = self._chunks[-1][0] + len(self._chunks[-1][1]) if self._chunks else 0
        self._chunks.append((start, np.zeros((size, dimensions), dtype=np.float32)))
        self._used = 0


@dataclass(frozen=True, slots=True)
class _Wide:
    """The groups of more than eight examples: their numbers, and where their rows are."""

    groups: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]


class Index:
    """Groups of unit vectors, numbered as they were added; immutable.

    An index that grew out of another shares its rows, so that adding a group copies no vectors.
    Of a group of up to eight examples one row is kept: all of them are its nearest eight, and the
    mean of their products is the product of their mean. Of larger ones, every row.
    """

    def __init__(self, groups: Iterable[Vectors] = ()) -> None:
        """Take one float matrix [at least 1, dimensions] of unit rows per group."""
        self._summaries = Rows()
        self._examples = Rows()
        self._sizes = np.empty(0, dtype=np.intp)
        self._evidence = np.empty(0, dtype=np.float32)
        self._alive = np.empty(0, dtype=np.bool_)
        none = np.empty(0, dtype=np.intp)
        self._wide = _Wide(none, none, none)
        self._end = 0
        self._add(list(groups))

    def __len__(self) -> int:
        """How many example vectors there are."""
        return int(self._sizes[self._alive].sum())

    def __contains__(self, group: int) -> bool:
        return group < len(self._alive) and bool(self._alive[group])

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which groups were not withdrawn, [groups]."""
        return self._alive

    @property
    def is_newest(self) -> bool:
        """Whether no other index has grown out of this one."""
        return self._summaries.end == len(self._sizes)

    @property
    def is_sparse(self) -> bool:
        """Whether so much was withdrawn that building anew is worth it."""
        return len(self._alive) > 1000 and int(self._alive.sum()) * 2 < len(self._alive)

    def changed(
        self, added: Sequence[Vectors], withdrawn: Sequence[int]
    ) -> tuple["Index", list[Vectors]]:
        """The index with more groups and without others; only for the newest one.

        Returns:
            It, and the added groups' vectors where it keeps them.
        """
        other = copy(self)
        other._alive = self._alive.copy()
        other._alive[list(withdrawn)] = False
        return other, other._add(added)

    def nearest(
        self,
        query: Vectors,
        count: int,
        prior: float | None = None,
        among: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]:
        """The `count` best groups for a unit vector: their numbers and scores, best first.

        Exact: no mean over examples exceeds the cosine of the nearest one, so a score is at most
        the one with this cosine in its place; groups are looked at in the order of these bounds
        until the next one falls below the scores already found.

        Args:
            query: float32 [dimensions].
            count: how many.
            prior: what any text scores, which small groups are weighed with; None weighs nothing.
            among: which groups are looked at, [groups]; None looks at all.
        """
        if not len(self._sizes) or not count:
            return []
        cosines = self._examples.dot(query, self._end)
        nearest = self._nearest_of_wide(cosines)
        bounds = self._weighed(self._bounds(query, nearest), prior)
        bounds[~self._alive if among is None else ~(self._alive & among)] = -np.inf
        block = count + BLOCK
        while True:
            top = _largest(bounds, block)
            scores = self._exact(top, bounds, cosines, nearest)
            order = np.lexsort((top, -scores))[:count]
            settled = block >= len(bounds) or scores[order[-1]] >= bounds[top].min()
            if settled:
                found = ((int(top[at]), float(scores[at])) for at in order)
                return [(group, score) for group, score in found if score > -np.inf]
            block *= 4

    def _add(self, groups: Sequence[Vectors]) -> list[Vectors]:
        views = []
        wide: list[tuple[int, int, int]] = []
        for number, rows in enumerate(groups, len(self._sizes)):
            view = rows
            if len(rows) > NEIGHBOURS:
                start, view = self._examples.append(rows)
                wide.append((number, start, len(rows)))
            exact = view.astype(np.float32, copy=False)
            summary = CENTRAL_WEIGHT * centroid(exact)
            if len(rows) <= NEIGHBOURS:
                summary = summary + NEAR_WEIGHT * exact.mean(axis=0)
            self._summaries.append(summary[None])
            views.append(view)
        sizes = np.array([len(rows) for rows in groups], dtype=np.intp)
        evidence = np.minimum(sizes, NEIGHBOURS).astype(np.float32) / NEIGHBOURS
        self._sizes = np.append(self._sizes, sizes)
        self._evidence = np.append(self._evidence, evidence)
        self._alive = np.append(self._alive, np.ones(len(groups), dtype=np.bool_))
        if wide:
            more = np.array(wide, dtype=np.intp).T
            old = self._wide
            self._wide = _Wide(
                np.append(old.groups, more[0]),
                np.append(old.starts, more[1]),
                np.append(old.sizes, more[2]),
            )
            self._end = self._examples.end
        return views

    def _nearest_of_wide(self, cosines: Vectors) -> Vectors:
        """At least the cosine of each wide group's nearest example, float32 [wide groups]."""
        if not len(self._wide.groups):
            return np.empty(0, dtype=np.float32)
        nearest: Vectors = np.maximum.reduceat(cosines, self._wide.starts)
        return nearest

    def _bounds(self, query: Vectors, nearest: Vectors) -> Vectors:
        """Raw scores of small groups, upper bounds of the others'."""
        bounds = self._summaries.dot(query, len(self._sizes))
        bounds[self._wide.groups] += NEAR_WEIGHT * nearest
        return bounds

    def _weighed(self, raw: Vectors, prior: float | None) -> Vectors:
        if prior is None:
            return raw
        weighed: Vectors = np.float32(prior) + self._evidence * (raw - np.float32(prior))
        return weighed

    def _exact(
        self, top: NDArray[np.intp], bounds: Vectors, cosines: Vectors, nearest: Vectors
    ) -> Vectors:
        """The scores of some groups: their bounds, with the true mean in the place of the best."""
        scores = bounds[top]
        wide = np.flatnonzero(self._sizes[top] > NEIGHBOURS)
        if not len(wide):
            return scores
        at = np.searchsorted(self._wide.groups, top[wide])
        starts, sizes = self._wide.starts[at], self._wide.sizes[at]
        columns = np.arange(sizes.max())
        places = np.minimum(starts[:, None] + columns, len(cosines) - 1)
        near = np.where(columns < sizes[:, None], cosines[places], -np.inf)
        means = np.partition(near, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
        scores[wide] += NEAR_WEIGHT * (means - nearest[at])
        return scores


def score(rows: Vectors, query: Vectors, prior: float | None = None) -> float:
    """A single group's score; one without any examples scores the prior."""
    if not len(rows):
        return prior or 0.0
    exact = rows.astype(np.float32, copy=False)
    near = np.sort(exact @ query)[-NEIGHBOURS:].mean()
    raw = float(NEAR_WEIGHT * near + CENTRAL_WEIGHT * (centroid(exact) @ query))
    if prior is None:
        return raw
    return prior + min(len(rows), NEIGHBOURS) / NEIGHBOURS * (raw - prior)


def centroid(rows: Vectors) -> Vectors:
    """The mean direction of some unit rows; zero when they cancel out."""
    mean: Vectors = rows.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _largest(values: Vectors, count: int) -> NDArray[np.intp]:
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(-values, count - 1)[:count]
