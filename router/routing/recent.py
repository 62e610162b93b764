"""The routes that are held in memory: those that came last, or all of a small catalogue."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors
from router.routing.filters import Marks
from router.routing.index import COARSE, Index, centroid
from router.routing.route import Route


class Recent:
    """Routes, numbered as they came; immutable. What grows out of it shares all vectors with it."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        """Take the routes, one for each specialist."""
        self._index = Index()
        # Shared with those that grow out of this one; the index says which are mine.
        self._routes: list[Route] = []
        self._numbers: dict[str, int] = {}
        self._marks = Marks()
        self._take({route.specialist: route for route in routes}, self._index)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which numbers are still in use, [numbers]."""
        return self._index.alive

    @property
    def routes(self) -> list[Route]:
        """The routes in use, as they came."""
        return [self._routes[number] for number in np.flatnonzero(self.alive)]

    @property
    def examples(self) -> int:
        """How many vectors the routes in use have."""
        return len(self._index)

    def number(self, specialist: str) -> int | None:
        """The number of a specialist's route; None for one that is not here, or no longer."""
        number = self._numbers.get(specialist)
        return number if number is not None and number in self._index else None

    def route(self, number: int) -> Route:
        """The route of a number."""
        return self._routes[number]

    def having(self, mark: str) -> NDArray[np.bool_]:
        """Which numbers have a mark, [numbers]."""
        return self._marks.having(mark, len(self.alive))

    def tags(self) -> Iterable[tuple[str, int]]:
        """The tags, and how many routes have each, those no longer in use included."""
        return self._marks.tags()

    def centres(self, numbers: NDArray[np.intp]) -> Vectors:
        """The middle of some routes' examples, unit vectors [numbers, COARSE]."""
        rows = [self._routes[number].rows.floats(COARSE) for number in numbers]
        return np.stack([centroid(each) for each in rows])

    def nearest(
        self, query: Vectors, count: int, prior: float | None, among: NDArray[np.bool_]
    ) -> list[tuple[int, float]]:
        """The numbers of the `count` best routes, and their scores, best first.

        Args:
            query: a unit vector.
            count: how many.
            prior: what any text scores.
            among: which numbers are looked at, [numbers].
        """
        return self._index.nearest(query, count, prior, among)

    def changed(self, changes: Mapping[str, Route | None]) -> "Recent":
        """These after some were replaced, added, or taken away (None)."""
        if not self._index.is_newest or self._index.is_sparse:
            routes = {route.specialist: route for route in self.routes} | dict(changes)
            return Recent(route for route in routes.values() if route is not None)
        other = Recent.__new__(Recent)
        other._routes, other._numbers, other._marks = self._routes, self._numbers, self._marks
        other._take(changes, self._index)
        return other

    def _take(self, changes: Mapping[str, Route | None], index: Index) -> None:
        withdrawn = [self._numbers.pop(each) for each in changes if each in self._numbers]
        added = [route for route in changes.values() if route is not None]
        self._index = index.changed([route.rows for route in added], withdrawn)
        for route in added:
            self._numbers[route.specialist] = number = len(self._routes)
            self._marks.add(number, route.marks)
            self._routes.append(route)
