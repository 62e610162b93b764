"""The immutable route table that a replica serves from."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from registry.traits import Traits
from registry.version import Canary
from registry.view import Visibility
from router.routing.compact import Compact
from router.routing.encoder import Vectors
from router.routing.filters import Filters, Marks, marks, passing
from router.routing.index import Index, centroid, score
from router.routing.probe import Probe


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A specialist's live version and the vectors of its examples, at least one.

    `since` is when the specialist was first registered, in Unix seconds; `canary` is a version that
    some of its requests get instead; `visibility` says whom it may be chosen for; `traits` are what
    requests may ask for.
    """

    specialist: str
    version: int
    digest: str
    rows: Compact = field(repr=False)
    since: float = 0.0
    canary: Canary | None = None
    visibility: Visibility = Visibility.PUBLIC
    traits: Traits = field(default_factory=Traits)

    @property
    def vectors(self) -> Vectors:
        """The examples' unit vectors, float32 [rows, dimensions]; made anew each time."""
        return self.rows.floats()

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.specialist.partition("/")[0]

    def answers(self, owner: str | None) -> bool:
        """Whether it may be named by whoever owns this; None may name all."""
        return self.visibility != Visibility.PRIVATE or owner in (None, self.owner)

    @property
    def marks(self) -> Iterable[str]:
        """What it is filtered by."""
        return marks(self.owner, self.visibility == Visibility.PUBLIC, self.traits)


class Snapshot:
    """All routes at one generation of the registry, and the general requests of the base.

    Changing it makes another snapshot, which shares all vectors with this one.
    """

    def __init__(
        self,
        generation: int,
        routes: Iterable[Route],
        general: Vectors,
        follow_up: Probe | None = None,
    ) -> None:
        """Take the routes.

        Args:
            generation: the registry's.
            routes: one for each specialist.
            general: the requests that compete with them for the base, [rows, dimensions].
            follow_up: tells messages that say nothing without the ones before them.
        """
        self.generation = generation
        self.general = general
        self._general_centre = centroid(general)
        self.follow_up = follow_up
        self._probes: Mapping[str, Probe] = {}
        self.index = Index()
        self._owner: str | None = None
        self._shown: NDArray[np.bool_] | None = None
        self.is_filtered = False
        # Shared with the snapshots that grow out of this one; `index` says which routes are mine.
        self._routes: list[Route] = []
        self._numbers: dict[str, int] = {}
        self._marks = Marks()
        self._take({route.specialist: route for route in routes}, self.index)

    def __len__(self) -> int:
        """How many specialists are routed to."""
        return int(np.count_nonzero(self._among))

    @property
    def routes(self) -> list[Route]:
        """All routes, by specialist; to be looked through only rarely."""
        found = (self._routes[number] for number in np.flatnonzero(self._among))
        return sorted(found, key=lambda route: route.specialist)

    def seen_by(self, owner: str | None, filters: Filters | None = None) -> "Snapshot":
        """The routes that an owner may use, None all of them, as far as they pass the filters."""
        shown = passing(self, len(self.index.alive), owner, filters or Filters())
        if shown is None:
            return self
        other = copy(self)
        other._owner, other._shown, other.is_filtered = owner, shown, bool(filters)
        return other

    def having(self, mark: str) -> NDArray[np.intp]:
        """The numbers of routes with a mark."""
        return self._marks.having(mark, len(self.index.alive))

    def number(self, specialist: str) -> int | None:
        """The number of a specialist's route; None for one that is not here, or no longer."""
        number = self._numbers.get(specialist)
        return number if number is not None and number in self.index else None

    def find(self, specialist: str) -> Route | None:
        """The route of a specialist; None for one that is not here, or no longer in use here."""
        number = self.number(specialist)
        if number is None:
            return None
        route = self._routes[number]
        return route if route.answers(self._owner) else None

    def nearest(
        self, query: Vectors, count: int, prior: float | None = None
    ) -> list[tuple[Route, float]]:
        """The `count` best routes for a unit vector and their scores, best first."""
        found = self.index.nearest(query, count, prior, self._shown)
        routes = [(self._routes[number], near) for number, near in found]
        # Replicas number routes as they came to know them; a tie must not depend on that.
        return sorted(routes, key=lambda pair: (-pair[1], pair[0].specialist))

    def near_general(self, query: Vectors) -> float:
        """How near the general requests are to a unit vector, scored as a route's examples are."""
        return score(self.general, query, centre=self._general_centre)

    def changed(self, generation: int, changes: Mapping[str, Route | None]) -> "Snapshot":
        """The snapshot after specialists were replaced, added, or taken away (None).

        Only of one that nobody in particular sees.
        """
        if not self.index.is_newest or self.index.is_sparse:
            routes = {route.specialist: route for route in self.routes} | dict(changes)
            left = (route for route in routes.values() if route is not None)
            anew = Snapshot(generation, left, self.general, self.follow_up)
            return anew.refined(self._probes)
        other = copy(self)
        other.generation = generation
        gone = {each for each, route in changes.items() if route is None}
        if gone:
            kept = {each: probe for each, probe in self._probes.items() if each not in gone}
            other._probes = kept
        other._take(changes, self.index)
        return other

    def probe(self, route: Route) -> Probe | None:
        """What was fitted for a route; None as long as nothing was."""
        found = self._probes.get(route.specialist)
        return found if found is not None and found.digest == route.digest else None

    def refined(self, probes: Mapping[str, Probe]) -> "Snapshot":
        """The same routes with newer probes for some specialists."""
        other = copy(self)
        kept = {each: probe for each, probe in probes.items() if each in self._numbers}
        other._probes = {**self._probes, **kept}
        return other

    def shows_the_same_as(self, other: "Snapshot | None") -> bool:
        """Whether both have the same routes."""
        return other is not None and self.index is other.index

    def _take(self, changes: Mapping[str, Route | None], index: Index) -> None:
        withdrawn = [self._numbers.pop(each) for each in changes if each in self._numbers]
        added = [route for route in changes.values() if route is not None]
        self.index = index.changed([route.rows for route in added], withdrawn)
        for route in added:
            self._numbers[route.specialist] = number = len(self._routes)
            self._marks.add(number, route.marks)
            self._routes.append(route)

    @property
    def _among(self) -> NDArray[np.bool_]:
        alive = self.index.alive
        return alive if self._shown is None else alive & self._shown
