"""The immutable route table that a replica serves from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from router.encoder import Vectors
from router.index import Index


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A specialist's live version and its example vectors, float32 [at least 1, dimensions]."""

    specialist: str
    version: int
    digest: str
    vectors: Vectors = field(repr=False)


class Snapshot:
    """All routes at one generation of the registry, and the base's own examples.

    Changing it makes another snapshot.
    """

    def __init__(self, generation: int, routes: Iterable[Route], base: Index) -> None:
        """Take `base`, an index of one group: the general requests that compete with the routes."""
        self.generation = generation
        self.routes = tuple(sorted(routes, key=lambda route: route.specialist))
        self.base = base
        self.index = Index([route.vectors for route in self.routes])

    def changed(self, generation: int, changes: Mapping[str, Route | None]) -> "Snapshot":
        """The snapshot after specialists were replaced, added, or taken away (None)."""
        routes = {route.specialist: route for route in self.routes} | dict(changes)
        left = [route for route in routes.values() if route is not None]
        return Snapshot(generation, left, self.base)
