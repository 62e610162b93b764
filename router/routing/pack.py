"""Routes on disk, memory-mapped: most of a large catalogue. What is looked at is read, no more."""

from collections import OrderedDict
from collections.abc import Collection
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.routing.columns import Columns
from router.routing.compact import Compact
from router.routing.encoder import Vectors
from router.routing.graph import Graph
from router.routing.index import best_of, nearest_groups, weighed
from router.routing.route import Route

GRAPH = "graph.usearch"
SCANNED = 16_384
"""Prototypes up to which all are looked at: of so few none is missed, and it takes no longer."""
AROUND = 2
"""Times as many prototypes as routes are found along the graph: some count for more than others."""
MOST = 4096
"""Prototypes that are found along the graph at most, where many may not be chosen."""
MASKS = 16
"""Marks that many routes have, for which it is remembered which ones."""


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
        graph = folder / GRAPH
        self._graph = Graph(graph) if graph.exists() else None
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()

    @property
    def gone(self) -> list[int]:
        """The numbers that are not in use."""
        return [int(number) for number in np.flatnonzero(~self.alive)]

    @property
    def examples(self) -> int:
        """How many vectors the routes in use have."""
        return int(self.sizes[self.alive].sum())

    @property
    def lacks_a_graph(self) -> bool:
        """Whether there is so much that one should be built."""
        return self._graph is None and len(self.columns.prototypes) > SCANNED

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
        return self.columns.route(number)

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
        if left <= count:
            return np.flatnonzero(among)
        density = len(self.columns.prototypes) / len(among)
        if self._graph is None or left * density <= SCANNED:
            return self._best(short, prior, np.flatnonzero(among), count)
        asked = int(AROUND * count * len(self.columns.prototypes) / left)
        found = self._along(self._graph, short, min(asked, MOST), among)
        if len(found) < count // 2:
            # What may be chosen lies elsewhere than what is near.
            found = self._along(self._graph, short, MOST, among)
        if not len(found):
            found = np.flatnonzero(among)
        return self._best(short, prior, found, count)

    def rows(self, groups: NDArray[np.intp]) -> Compact:
        """The vectors of some routes, one after the other."""
        sizes, columns = self.sizes[groups], self.columns
        places = spans(columns.ends[groups] - sizes, sizes)
        return Compact(columns.values[places], columns.scales[places])

    def _along(
        self, graph: Graph, short: Vectors, count: int, among: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Routes of the `count` nearest prototypes, those that may be chosen."""
        query = Compact.of(short[None]).values[0]
        places = graph.nearest(query, min(count, len(graph)))
        found = np.unique(np.searchsorted(self.columns.prototype_ends, places, side="right"))
        return found[among[found]]

    def _best(
        self, short: Vectors, prior: float | None, some: NDArray[np.intp], count: int
    ) -> NDArray[np.intp]:
        """The routes, of some, whose prototypes score best; all of these are looked at."""
        best = np.empty(len(some), dtype=np.float32)
        for start in range(0, len(some), SCANNED):
            part = slice(start, start + SCANNED)
            best[part] = self._nearest_prototypes(short, some[part])
        return best_of(some, weighed(best, self.sizes[some], prior), count)

    def _nearest_prototypes(self, short: Vectors, some: NDArray[np.intp]) -> Vectors:
        """How near the nearest prototype of each of some routes is, float32 [some]."""
        ends = self.columns.prototype_ends
        firsts = np.where(some > 0, ends[some - 1], 0)
        counts = ends[some] - firsts
        near = Compact.held(self.columns.prototypes[spans(firsts, counts)]).dot(short)
        best: Vectors = np.maximum.reduceat(near, np.cumsum(counts) - counts)
        return best


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
