"""The immutable route table that a replica serves from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from registry.version import Canary
from router.encoder import Vectors
from router.index import Index


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A specialist's live version and its example vectors, [at least 1, dimensions].

    `since` is when the specialist was first registered, in Unix seconds; `canary` is a version that
    some of its requests get instead.
    """

    specialist: str
    version: int
    digest: str
    vectors: Vectors = field(repr=False)
    since: float = 0.0
    canary: Canary | None = None

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.specialist.partition("/")[0]


class Snapshot:
    """All routes at one generation of the registry, and the general requests of the base.

    Changing it makes another snapshot, which shares all vectors with this one.
    """

    def __init__(self, generation: int, routes: Iterable[Route], general: Vectors) -> None:
        """Take the routes, and the general requests that compete with them, [rows, dimensions]."""
        self.generation = generation
        self.general = general
        self.index = Index()
        # Shared with the snapshots that grow out of this one; `index` says which routes are mine.
        self._routes: list[Route] = []
        self._numbers: dict[str, int] = {}
        self._take({route.specialist: route for route in routes}, self.index)

    def __len__(self) -> int:
        """How many specialists are routed to."""
        return len(self.index.groups)

    @property
    def routes(self) -> list[Route]:
        """All routes, by specialist; to be looked through only rarely."""
        found = (self._routes[number] for number in self.index.groups)
        return sorted(found, key=lambda route: route.specialist)

    def find(self, specialist: str) -> Route | None:
        """The route of a specialist; None for one that is not here, or no longer in use here."""
        number = self._numbers.get(specialist)
        return self._routes[number] if number is not None and number in self.index else None

    def nearest(
        self, query: Vectors, count: int, prior: float | None = None
    ) -> list[tuple[Route, float]]:
        """The `count` best routes for a unit vector and their scores, best first."""
        found = self.index.nearest(query, count, prior)
        routes = [(self._routes[number], score) for number, score in found]
        # Replicas number routes as they came to know them; a tie must not depend on that.
        return sorted(routes, key=lambda pair: (-pair[1], pair[0].specialist))

    def changed(self, generation: int, changes: Mapping[str, Route | None]) -> "Snapshot":
        """The snapshot after specialists were replaced, added, or taken away (None)."""
        if not self.index.is_newest or self.index.is_sparse:
            routes = {route.specialist: route for route in self.routes} | dict(changes)
            left = (route for route in routes.values() if route is not None)
            return Snapshot(generation, left, self.general)
        other = object.__new__(Snapshot)
        other.generation, other.general = generation, self.general
        other._routes, other._numbers = self._routes, self._numbers
        other._take(changes, self.index)
        return other

    def _take(self, changes: Mapping[str, Route | None], index: Index) -> None:
        withdrawn = [self._numbers.pop(each) for each in changes if each in self._numbers]
        added = [route for route in changes.values() if route is not None]
        self.index, views = index.changed([route.vectors for route in added], withdrawn)
        for route, view in zip(added, views, strict=True):
            self._numbers[route.specialist] = len(self._routes)
            self._routes.append(replace(route, vectors=view))
