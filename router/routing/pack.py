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
from router.routing.index import best_of, nearest_groups
from router.routing.route import Route

GRAPH = "graph.usearch"
SCANNED = 16_384
"""Prototypes up to which all are looked at: of so few none is missed, and it takes no longer."""
ASKED = 4096
"""Neighbours that the graph is asked for at most, where many of them may not be chosen."""
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

    def near(self, short: Vectors, among: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
        """Up to `count` of these routes, those with the prototypes nearest to a short vector."""
        left = int(np.count_nonzero(among))
        if left <= count:
            return np.flatnonzero(among)
        share = left / len(among)
        if self._graph is None or share * len(self.columns.prototypes) <= SCANNED:
            return self._scanned(short, np.flatnonzero(among), count)
        asked = count * len(self.columns.prototypes) / left
        found = self._along(self._graph, short, min(int(asked), ASKED), among)
        if len(found) < count:
            # What may be chosen lies elsewhere than what is near, or is much alike.
            found = self._along(self._graph, short, ASKED, among)
        if not len(found):
            return self._scanned(short, np.flatnonzero(among), count)
        return found[:count]

    def rows(self, groups: NDArray[np.intp]) -> Compact:
        """The vectors of some routes, one after the other."""
        return Compact.together([self.columns.rows(int(group)) for group in groups])

    def _along(
        self, graph: Graph, short: Vectors, count: int, among: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Routes of the `count` nearest prototypes, those that may be chosen, nearest first."""
        query = Compact.of(short[None]).values[0]
        places = graph.nearest(query, min(count, len(graph)))
        found = np.searchsorted(self.columns.prototype_ends, places, side="right")
        _, first = np.unique(found, return_index=True)
        distinct = found[np.sort(first)]
        return distinct[among[distinct]]

    def _scanned(self, short: Vectors, some: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """The routes, of some, with the nearest prototypes; all of these are looked at."""
        best = np.empty(len(some), dtype=np.float32)
        for start in range(0, len(some), SCANNED):
            part = slice(start, start + SCANNED)
            best[part] = self._nearest_prototypes(short, some[part])
        return best_of(some, best, count)

    def _nearest_prototypes(self, short: Vectors, some: NDArray[np.intp]) -> Vectors:
        """How near the nearest prototype of each of some routes is, float32 [some]."""
        ends = self.columns.prototype_ends
        firsts = np.where(some > 0, ends[some - 1], 0)
        counts = ends[some] - firsts
        starts = np.cumsum(counts) - counts
        places = np.repeat(firsts - starts, counts) + np.arange(counts.sum())
        near = Compact.held(self.columns.prototypes[places]).dot(short)
        best: Vectors = np.maximum.reduceat(near, starts)
        return best


def _place(names: NDArray[np.bytes_], name: str) -> int | None:
    """Where a name is among ascending ones; None where it is not."""
    key = name.encode("utf-8", "surrogatepass")
    if len(key) > names.dtype.itemsize:
        return None
    place = int(np.searchsorted(names, np.array(key, dtype=names.dtype)))
    return place if place < len(names) and names[place] == key else None
