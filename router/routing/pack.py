"""Routes on disk, memory-mapped: most of a large catalogue. What is looked at is read, no more."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.routing.columns import Columns
from router.routing.compact import Compact, Halves
from router.routing.encoder import Vectors
from router.routing.filters import TAG
from router.routing.graph import Graph
from router.routing.index import FOUND, NEIGHBOURS, likeliest, nearest_groups, promised
from router.routing.route import Route

SCANNED = 4096
"""Prototypes up to which all are looked at: of so few none is missed, and it takes no longer."""
CLASSES = (1, 3, 5, NEIGHBOURS)
"""Examples from which on routes are in another graph: within one they count for about as much."""
QUARTER, SURELY = 4, 0.97
"""Of the graph of those with fewest examples, which hardly ever score best, a quarter of what may
be asked will do if most of it could not be among the best."""
MOST = 4096
"""Prototypes that are found along a graph at most, where many may not be chosen."""
HELD = SCANNED * len(CLASSES)
"""Routes in no graph whose prototypes are held in memory, at most."""
MASKS = 16
"""Marks that many routes have, for which it is remembered which ones."""
ROUTES = 2048
"""Routes that are remembered as they were read; their vectors stay on disk."""


class Prototypes:
    """What stands for some routes, all of which is looked at."""

    def __init__(self, columns: Columns, numbers: NDArray[np.intp]) -> None:
        """Take those of the routes of some numbers."""
        self._numbers = numbers
        begins = firsts(columns, numbers)
        counts = columns.prototype_ends[numbers] - begins
        self._rows = Compact.held(columns.prototypes[spans(begins, counts)])
        self._starts = np.cumsum(counts) - counts

    def near(self, short: Halves, among: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Vectors]:
        """The routes that are among some, and how near the nearest prototype of each is."""
        best = np.maximum.reduceat(self._rows.dot(short), self._starts)
        here = among[self._numbers]
        return self._numbers[here], best[here]


def in_parts(columns: Columns, numbers: NDArray[np.intp]) -> Iterator[Prototypes]:
    """Those of many routes, some at a time."""
    for start in range(0, max(len(numbers), 1), SCANNED):
        yield Prototypes(columns, numbers[start : start + SCANNED])


class Pack:
    """Routes numbered in the order of their ids; immutable, but for those that are gone."""

    def __init__(self, folder: Path, gone: Collection[int] = ()) -> None:
        """Open what `packing.py` wrote; the numbers in `gone` are not in use.

        Raises:
            OSError, ValueError: it is not there, or not whole.
        """
        self.folder = folder
        self.columns = Columns.mapped(folder)
        self.sizes, self.lengths = self.columns.sizes, self.columns.lengths
        self.alive = np.ones(len(self.columns), dtype=np.bool_)
        self.alive[list(gone)] = False
        there = [each for each in range(len(CLASSES)) if graph_file(folder, each).exists()]
        self._in_no_graph = np.flatnonzero(~np.isin(classes(self.sizes), there))
        # Those first whose routes have most examples, and so score best.
        self._graphs = {each: Graph(graph_file(folder, each)) for each in reversed(there)}
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._route = lru_cache(ROUTES)(self.columns.route)

    @property
    def _loose(self) -> Iterable[Prototypes]:
        """Those of the routes that are in no graph; held ready, where these are not very many."""
        if len(self._in_no_graph) > HELD:
            return in_parts(self.columns, self._in_no_graph)
        return self._held

    @cached_property
    def _held(self) -> Sequence[Prototypes]:
        return tuple(in_parts(self.columns, self._in_no_graph))

    @property
    def gone(self) -> list[int]:
        """The numbers that are not in use."""
        return [int(number) for number in np.flatnonzero(~self.alive)]

    @property
    def examples(self) -> int:
        """How many vectors the routes in use have."""
        return int(self.sizes[self.alive].sum())

    @cached_property
    def lacks_a_graph(self) -> bool:
        """Whether there is so much that one should be built; asked for at every look."""
        many = [len(names) > SCANNED for names in prototypes_by_class(self.columns)]
        return sum(many) > len(self._graphs)

    def without(self, specialists: Collection[str]) -> "Pack":
        """The pack without some specialists, those that it has."""
        found = [self.number(each) for each in specialists]
        gone = [number for number in found if number is not None]
        if not gone:
            return self
        other = copy(self)
        other.alive = self.alive.copy()
        other.alive[gone] = False
        return other

    def number(self, specialist: str) -> int | None:
        """The number of a specialist's route; None for one that is not here, or no longer."""
        number = _place(self.columns.ids, specialist)
        return number if number is not None and self.alive[number] else None

    def route(self, number: int) -> Route:
        """The route of a number."""
        return self._route(number)

    def having(self, mark: str) -> NDArray[np.bool_]:
        """Which numbers have a mark, [numbers]; not to be changed."""
        known = self._masks.get(mark)
        if known is not None:
            return known
        place = _place(self.columns.marks, mark)
        found = np.zeros(len(self.alive), dtype=np.bool_)
        if place is None:
            return found
        numbers = self.columns.part("marked", place)
        found[numbers] = True
        if len(numbers) > len(found) // MASKS:
            self._masks[mark] = found
            if len(self._masks) > MASKS:
                self._masks.popitem(last=False)
        return found

    def tags(self) -> Iterable[tuple[str, int]]:
        """The tags, and how many routes have each, those no longer in use included."""
        columns, first = self.columns, TAG.encode()
        at = int(np.searchsorted(columns.marks, np.array(first, dtype=columns.marks.dtype)))
        while at < len(columns.marks) and columns.marks[at].startswith(first):
            yield columns.marks[at].decode().removeprefix(TAG), len(columns.part("marked", at))
            at += 1

    def centres(self, numbers: NDArray[np.intp]) -> Vectors:
        """The middle of some routes' examples, unit vectors [numbers, COARSE]."""
        return Compact.held(self.columns.prototypes[firsts(self.columns, numbers)]).floats()

    def nearest(
        self, query: Vectors, count: int, prior: float | None, among: NDArray[np.bool_]
    ) -> list[tuple[int, float]]:
        """The numbers of the `count` best routes among some, see `nearest_groups`."""
        return nearest_groups(self, query, count, prior, among)

    def near(
        self, short: Vectors, prior: float | None, among: NDArray[np.bool_], count: int
    ) -> NDArray[np.intp]:
        """Up to `count` of these routes, those whose prototypes score best, best first."""
        left = int(np.count_nonzero(among))
        prototypes = len(self.columns.prototypes)
        if prototypes * left > SCANNED * len(among):
            asked = min(count * prototypes // left, MOST)
            near, likely = self._around(short, prior, among, asked, count)
            if len(near) < count // QUARTER:
                # What may be chosen lies elsewhere than what is near.
                near, likely = self._around(short, prior, among, MOST, count)
            if len(near):
                return likeliest(near, likely, self.sizes[near], count)
        every = in_parts(self.columns, np.flatnonzero(among)) if self._graphs else self._loose
        some, best = _near(every, short, among)
        return likeliest(some, self._promised(some, best, prior), self.sizes[some], count)

    def rows(self, groups: NDArray[np.intp], columns: int | None) -> Compact:
        """The vectors of some routes, one after the other; of each the first numbers, or all."""
        sizes, held = self.sizes[groups], self.columns
        places = spans(held.ends[groups] - sizes, sizes)
        return Compact(held.values, held.scales).first(columns).some(places)

    def _around(
        self, short: Vectors, prior: float | None, among: NDArray[np.bool_], asked: int, count: int
    ) -> tuple[NDArray[np.intp], Vectors]:
        """Routes around a vector in each graph, and about what they will score.

        Of a graph `asked` prototypes are looked at; see QUARTER.
        """
        query, length = Compact.of(short[None]).values[0], np.linalg.norm(short)
        found, best = _near(self._loose, short, among)
        likely = self._promised(found, best, prior)
        for number, graph in self._graphs.items():
            for most in (asked,) if number else (asked // QUARTER, asked):
                near, cosines = self._along(graph, query, among, most)
                promises = self._promised(near, cosines * length, prior)
                together = np.append(likely, promises)
                # What is farther away could not be among the best either.
                beaten = promises < _least(together, count // FOUND)
                if np.count_nonzero(beaten) > SURELY * len(near):
                    break
            found, likely = np.append(found, near), together
        return found, likely

    def _along(
        self, graph: Graph, query: NDArray[np.int8], among: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.intp], Vectors]:
        """The routes that are among some, and the cosine of the nearest prototype of each."""
        places, cosines = graph.nearest(query, most)
        whose = np.searchsorted(self.columns.prototype_ends, places, side="right")
        # The first prototype of a route is its nearest.
        routes, first = np.unique(whose, return_index=True)
        here = among[routes]
        return routes[here], cosines[first[here]]

    def _promised(self, some: NDArray[np.intp], best: Vectors, prior: float | None) -> Vectors:
        """About what some routes will score, by how near the nearest prototype of each is."""
        return promised(best, self.sizes[some], self.lengths[some], prior)


def firsts(columns: Columns, some: NDArray[np.intp]) -> NDArray[np.int64]:
    """Where the prototypes of some routes begin."""
    found: NDArray[np.int64] = np.where(some > 0, columns.prototype_ends[some - 1], 0)
    return found


def _near(
    parts: Iterable[Prototypes], short: Vectors, among: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Vectors]:
    """The routes of all parts that are among some, and how near each one's nearest prototype is."""
    halves = Halves.of(short)
    numbers, best = zip(*(part.near(halves, among) for part in parts), strict=True)
    return np.concatenate(numbers), np.concatenate(best)


def _least(likely: Vectors, place: int) -> float:
    """The score at a place, counted from the best; below all where there are not so many."""
    return float(np.partition(likely, -place)[-place]) if len(likely) >= place else -np.inf


def classes(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """The place in CLASSES of routes with so many examples, [routes]."""
    return np.searchsorted(np.array(CLASSES), sizes, side="right") - 1


def prototypes_by_class(columns: Columns) -> list[NDArray[np.intp]]:
    """The places of the prototypes of each class of routes."""
    of_each = np.diff(columns.prototype_ends, prepend=0)
    whose = np.repeat(classes(columns.sizes), of_each)
    return [np.flatnonzero(whose == number) for number in range(len(CLASSES))]


def graph_file(folder: Path, number: int) -> Path:
    """The file of a class's graph."""
    return folder / f"graph-{number}.usearch"


def spans(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, so many of each, end to end."""
    before = np.cumsum(counts) - counts
    found: NDArray[np.int64] = np.repeat(starts - before, counts) + np.arange(counts.sum())
    return found


def _place(names: NDArray[np.bytes_], name: str) -> int | None:
    """Where a name is among ascending ones; None where it is not."""
    key = name.encode("utf-8", "surrogatepass")
    if len(key) > names.dtype.itemsize:
        return None
    place = int(np.searchsorted(names, np.array(key, dtype=names.dtype)))
    return place if place < len(names) and names[place] == key else None
