"""Search for the groups of example requests that lie nearest to a text.

A group's score weighs two cosines: the mean over its nearest eight examples (such requests it has
been asked) and that of its examples' centroid (these are its usual requests). A group of fewer
than eight has shown less, so its score counts by the share of eight that it has; the rest is the
score that any text has, the prior.

The first coordinates hold most of what sets texts apart (`view.py`), and groups are found by them:
some by a few prototypes each, of these some by all their examples, which are then scored exactly.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from router.routing.compact import Compact, Halves
from router.routing.encoder import Vectors

NEIGHBOURS = 8
NEAR_WEIGHT = 0.8
CENTRAL_WEIGHT = 0.2
CHUNK_ROWS = 4096
COARSE = 256
"""Coordinates by which groups are found."""
PROTOTYPES = 8
"""Of a group, at most: its centroid, and for every eight examples one far from all before."""
FOUND, LEAST = 12, 64
"""Times as many groups as are asked for, and at least so many, are found by their prototypes."""
HOPE = 0.06
"""By so much a group may score better than its prototypes say, where these are not all examples."""
COARSE_ROWS, EXACT_ROWS = 8192, 2048
"""Of those found, rows that are compared by their first coordinates, and by all; about."""


class Rows:
    """Float32 rows that are only ever added to and never move."""

    def __init__(self) -> None:
        # The place of a chunk's first row, and the chunk.
        self._chunks: list[tuple[int, Vectors]] = []
        self._used = 0

    @property
    def end(self) -> int:
        """Places taken so far, unused ones at the ends of chunks included."""
        return self._chunks[-1][0] + self._used if self._chunks else 0

    def append(self, rows: Vectors) -> int:
        """Add rows that stay together; returns the place of the first."""
        if not self._chunks or self._used + len(rows) > len(self._chunks[-1][1]):
            self._open(max(CHUNK_ROWS, len(rows)), rows.shape[1])
        self._chunks[-1][1][self._used : self._used + len(rows)] = rows
        self._used += len(rows)
        return self.end - len(rows)

    def dot(self, query: Vectors, end: int) -> Vectors:
        """Products of the rows before the place `end` with a query, float32 [end]."""
        products = np.empty(end, dtype=np.float32)
        for start, chunk in self._chunks:
            if start < end:
                stop = min(start + len(chunk), end)
                np.dot(chunk[: stop - start], query, out=products[start:stop])
        return products

    def _open(self, size: int, dimensions: int) -> None:
        # What is left of the chunk before stays zero: like a prototype that nothing is near to.
        start = self._chunks[-1][0] + len(self._chunks[-1][1]) if self._chunks else 0
        self._chunks.append((start, np.zeros((size, dimensions), dtype=np.float32)))
        self._used = 0


class Groups(Protocol):
    """Numbered groups of unit vectors.

    Attributes:
        sizes: rows of each group, [groups].
        lengths: of the sum of each group's rows over their number, [groups]; above zero.
    """

    sizes: NDArray[np.intp]
    lengths: Vectors

    def near(
        self, short: Vectors, prior: float | None, among: NDArray[np.bool_], count: int
    ) -> NDArray[np.intp]:
        """Up to `count` of these groups, those whose prototypes score best, best first."""

    def rows(self, groups: NDArray[np.intp], columns: int | None) -> Compact:
        """The rows of some groups, one after the other; of each the first columns, or all."""


def nearest_groups(
    groups: Groups,
    query: Vectors,
    count: int,
    prior: float | None,
    among: NDArray[np.bool_],
) -> list[tuple[int, float]]:
    """The `count` best groups for a unit vector: their numbers and scores, best first.

    The scores are exact; which groups are scored is found by their first coordinates.

    Args:
        groups: where to look.
        query: float32 [dimensions].
        count: how many.
        prior: what any text scores, which small groups are weighed with; None weighs nothing.
        among: which groups are looked at, [groups].
    """
    if not among.any() or not count:
        return []
    short, most = np.ascontiguousarray(query[:COARSE]), max(FOUND * count, LEAST)
    some = groups.near(short, prior, among, most)
    some = some[: _afforded(groups.sizes[some], COARSE_ROWS, LEAST)]
    halves = Halves.of(query)
    if groups.sizes[some].sum() > EXACT_ROWS:
        some = best_of(some, _scores(groups, halves, some, prior, COARSE), len(some))
        some = some[: _afforded(groups.sizes[some], EXACT_ROWS, count + count // 2)]
    scores = _scores(groups, halves, some, prior)
    order = np.lexsort((some, -scores))
    return [(int(some[at]), float(scores[at])) for at in order[:count]]


def _afforded(sizes: NDArray[np.intp], rows: int, least: int) -> int:
    """How many of the first groups have so many rows together; more, if `least` says so."""
    return max(int(np.searchsorted(np.cumsum(sizes), rows, side="right")), least)


def _scores(
    groups: Groups,
    query: Halves,
    some: NDArray[np.intp],
    prior: float | None,
    columns: int | None = None,
) -> Vectors:
    """Scores of some groups, by their first columns or by all, float32 [groups]."""
    cosines = groups.rows(some, columns).dot(query)
    sizes = groups.sizes[some]
    starts = np.cumsum(sizes) - sizes
    places = np.arange(sizes.max())
    inside = places < sizes[:, None]
    of_each = cosines[np.minimum(starts[:, None] + places, len(cosines) - 1)]
    nearest = _means_of_largest(np.where(inside, of_each, -np.inf), sizes)
    # A centroid's cosine is the mean of its examples' cosines over its length.
    central = np.add.reduceat(cosines, starts) / sizes / groups.lengths[some]
    return weighed(NEAR_WEIGHT * nearest + CENTRAL_WEIGHT * central, sizes, prior)


def promised(
    near: Vectors, sizes: NDArray[np.intp], lengths: Vectors, prior: float | None
) -> Vectors:
    """About what groups will score, by how near their nearest prototype is.

    Of few examples all are looked at, and their mean's cosine is known from their centroid's.
    """
    few = np.where(sizes <= NEIGHBOURS, NEAR_WEIGHT * lengths + CENTRAL_WEIGHT, 1.0)
    return weighed(near * few, sizes, prior)


def weighed(
    raw: NDArray[np.floating[Any]], sizes: NDArray[np.intp], prior: float | None
) -> Vectors:
    """Scores of groups of these sizes; of few examples the prior makes up the rest, if any is."""
    if prior is None:
        return raw.astype(np.float32)
    evidence = np.minimum(sizes, NEIGHBOURS) / NEIGHBOURS
    found: Vectors = (prior + evidence * (raw - prior)).astype(np.float32)
    return found


class Index:
    """Groups of unit vectors, numbered as they were added; immutable.

    An index that grew out of another shares its rows, so that adding a group copies no vectors.
    """

    def __init__(self, groups: Iterable[Compact] = ()) -> None:
        """Take the groups, of at least one row each."""
        self._prototypes = Rows()
        # Shared with the indexes that grow out of this one.
        self._groups: list[Compact] = []
        self._starts = np.empty(0, dtype=np.intp)
        self.sizes = np.empty(0, dtype=np.intp)
        self.lengths = np.empty(0, dtype=np.float32)
        self._alive = np.empty(0, dtype=np.bool_)
        self._end = 0
        self._add(list(groups))

    def __len__(self) -> int:
        """How many example vectors there are."""
        return int(self.sizes[self._alive].sum())

    def __contains__(self, group: int) -> bool:
        return group < len(self._alive) and bool(self._alive[group])

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which groups were not withdrawn, [groups]."""
        return self._alive

    @property
    def is_newest(self) -> bool:
        """Whether no other index has grown out of this one."""
        return len(self._groups) == len(self.sizes)

    @property
    def is_sparse(self) -> bool:
        """Whether so much was withdrawn that building anew is worth it."""
        return len(self._alive) > 1000 and int(self._alive.sum()) * 2 < len(self._alive)

    def changed(self, added: Sequence[Compact], withdrawn: Sequence[int]) -> "Index":
        """The index with more groups and without others; only for the newest one."""
        other = copy(self)
        other._alive = self._alive.copy()
        other._alive[list(withdrawn)] = False
        other._add(added)
        return other

    def nearest(
        self,
        query: Vectors,
        count: int,
        prior: float | None = None,
        among: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]:
        """The `count` best of these groups, or of all, see `nearest_groups`."""
        looked_at = self._alive if among is None else self._alive & among
        return nearest_groups(self, query, count, prior, looked_at)

    def near(
        self, short: Vectors, prior: float | None, among: NDArray[np.bool_], count: int
    ) -> NDArray[np.intp]:
        """Up to `count` of these groups, those whose prototypes score best, best first."""
        some = np.flatnonzero(among)
        near = self._prototypes.dot(short, self._end)
        best: Vectors = np.maximum.reduceat(near, self._starts)[some]
        sizes = self.sizes[some]
        return likeliest(some, promised(best, sizes, self.lengths[some], prior), sizes, count)

    def rows(self, groups: NDArray[np.intp], columns: int | None) -> Compact:
        """The rows of some groups, one after the other; of each the first columns, or all."""
        return Compact.together([self._groups[group].first(columns) for group in groups])

    def _add(self, groups: Sequence[Compact]) -> None:
        starts, lengths = [], []
        for group in groups:
            rows = group.floats()
            starts.append(self._prototypes.append(prototypes(rows)))
            lengths.append(length_of_mean(rows))
            self._groups.append(group)
        sizes = np.array([len(group) for group in groups], dtype=np.intp)
        self._starts = np.append(self._starts, np.array(starts, dtype=np.intp))
        self.sizes = np.append(self.sizes, sizes)
        self._alive = np.append(self._alive, np.ones(len(groups), dtype=np.bool_))
        self.lengths = np.append(self.lengths, np.array(lengths, dtype=np.float32))
        self._end = self._prototypes.end


def prototypes(rows: Vectors) -> Vectors:
    """What stands for a group: its centroid, then examples that are far from all before them.

    Greedy k-centres (Gonzalez 1985), float32 [at most PROTOTYPES, COARSE].
    """
    short = rows[:, :COARSE].copy()
    short /= np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-12)
    found = [centroid(short)]
    nearest = short @ found[0]
    for _ in range(min(PROTOTYPES - 1, len(rows) // NEIGHBOURS)):
        found.append(short[nearest.argmin()])
        nearest = np.maximum(nearest, short @ found[-1])
    return np.stack(found)


def likeliest(
    groups: NDArray[np.intp], promises: Vectors, sizes: NDArray[np.intp], count: int
) -> NDArray[np.intp]:
    """The groups that are best by what is promised, or may be; the likeliest first."""
    return best_of(groups, promises + np.where(sizes > NEIGHBOURS, HOPE, 0), count)


def best_of(groups: NDArray[np.intp], scores: Vectors, count: int) -> NDArray[np.intp]:
    """The groups with the largest scores, best first; of equal ones the first."""
    found: NDArray[np.intp] = groups[np.argsort(-scores, kind="stable")[:count]]
    return found


def _means_of_largest(values: Vectors, sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of each row the mean of its NEIGHBOURS largest numbers, or of all where it has fewer."""
    if values.shape[1] > NEIGHBOURS:
        values = np.partition(values, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    counted = np.minimum(sizes, NEIGHBOURS)
    sums: NDArray[np.float64] = np.where(values > -np.inf, values, 0).sum(axis=1, dtype=float)
    return sums / counted


def score(
    rows: Vectors, query: Vectors, prior: float | None = None, centre: Vectors | None = None
) -> float:
    """A single group's score; one without any examples scores the prior.

    Whoever asks often has the `centroid` of the rows, and gives it as `centre`.
    """
    if not len(rows):
        return prior or 0.0
    near = np.sort(rows @ query)[-NEIGHBOURS:].mean()
    central = (centroid(rows) if centre is None else centre) @ query
    raw = float(NEAR_WEIGHT * near + CENTRAL_WEIGHT * central)
    if prior is None:
        return raw
    return prior + min(len(rows), NEIGHBOURS) / NEIGHBOURS * (raw - prior)


def nearest_rows(rows: Vectors, vector: Vectors, most: int) -> Vectors:
    """The rows nearest to a vector, nearest first; all as they are where there are no more."""
    if len(rows) <= most:
        return rows
    return rows[np.argsort(-(rows @ vector), kind="stable")[:most]]


def length_of_mean(rows: Vectors) -> float:
    """How much some unit rows have one direction: above 0, and 1 where all are alike."""
    return max(float(np.linalg.norm(rows.mean(axis=0))), 1e-12)


def centroid(rows: Vectors) -> Vectors:
    """The mean direction of some unit rows; zero when they cancel out."""
    mean: Vectors = rows.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
