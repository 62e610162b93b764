"""The immutable route table that a replica serves from."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors
from router.routing.filters import Filters, passing
from router.routing.index import centroid, score
from router.routing.pack import Pack
from router.routing.probe import Probe
from router.routing.recent import Recent
from router.routing.route import Route

PROBES = 20_000
"""As many as are held at most."""


class Part(Protocol):
    """Some of a snapshot's routes, numbered."""

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which numbers are still in use, [numbers]."""

    @property
    def examples(self) -> int:
        """How many vectors the routes in use have."""

    def number(self, specialist: str) -> int | None:
        """The number of a specialist's route; None for one that is not here, or no longer."""

    def route(self, number: int) -> Route:
        """The route of a number."""

    def having(self, mark: str) -> NDArray[np.bool_]:
        """Which numbers have a mark, [numbers]."""

    def tags(self) -> Iterable[tuple[str, int]]:
        """The tags, and how many routes have each, those no longer in use included."""

    def centres(self, numbers: NDArray[np.intp]) -> Vectors:
        """The middle of some routes' examples, unit vectors [numbers, COARSE]."""

    def nearest(
        self, query: Vectors, count: int, prior: float | None, among: NDArray[np.bool_]
    ) -> list[tuple[int, float]]:
        """The numbers of the `count` best routes among some, and their scores, best first."""


class Snapshot:
    """All routes at one generation of the registry, and the general requests of the base.

    Most routes of a large catalogue are in packs on disk, the recent ones in memory. Changing a
    snapshot makes another one, which shares all vectors with it.
    """

    def __init__(
        self,
        generation: int,
        routes: Iterable[Route],
        general: Vectors,
        follow_up: Probe | None = None,
        kept: Sequence[Pack] = (),
    ) -> None:
        """Take the routes.

        Args:
            generation: the registry's.
            routes: one for each specialist that is in no part.
            general: the requests that compete with them for the base, [rows, dimensions].
            follow_up: tells messages that say nothing without the ones before them.
            kept: packs with the other specialists, each in one of them.
        """
        self.generation = generation
        self.general = general
        self._general_centre = centroid(general)
        self.follow_up = follow_up
        self.kept = tuple(kept)
        self.recent = Recent(routes)
        self._probes: Mapping[str, Probe] = {}
        self._owner: str | None = None
        # Of each part, which routes may be chosen, beside those that are gone; None for all.
        self._shown: Sequence[NDArray[np.bool_] | None] = [None] * len(self._parts)
        self.is_filtered = False
        # The same for all that have the same routes.
        self._content = object()

    def __len__(self) -> int:
        """How many specialists are routed to."""
        return sum(int(np.count_nonzero(among)) for _, among in self.searched)

    @property
    def examples(self) -> int:
        """How many example vectors there are, whoever may see them."""
        return sum(part.examples for part in self._parts)

    @property
    def routes(self) -> list[Route]:
        """All routes, by specialist; to be looked through only rarely."""
        found = (
            part.route(int(number))
            for part, among in self.searched
            for number in np.flatnonzero(among)
        )
        return sorted(found, key=lambda route: route.specialist)

    def seen_by(self, owner: str | None, filters: Filters | None = None) -> "Snapshot":
        """The routes that an owner may use, None all of them, as far as they pass the filters."""
        asked = filters or Filters()
        if owner is None and not asked:
            return self
        other = copy(self)
        other._owner, other.is_filtered = owner, bool(asked)
        other._shown = [passing(part, owner, asked) for part in self._parts]
        return other

    def find(self, specialist: str) -> Route | None:
        """The route of a specialist; None for one that is not here, or no longer in use here."""
        for part in reversed(self._parts):
            number = part.number(specialist)
            if number is not None:
                route = part.route(number)
                return route if route.answers(self._owner) else None
        return None

    def nearest(
        self, query: Vectors, count: int, prior: float | None = None
    ) -> list[tuple[Route, float]]:
        """The `count` best routes for a unit vector and their scores, best first."""
        found = [
            (part.route(number), near)
            for part, among in self.searched
            for number, near in part.nearest(query, count, prior, among)
        ]
        # Replicas number routes as they came to know them; a tie must not depend on that.
        found.sort(key=lambda pair: (-pair[1], pair[0].specialist))
        return found[:count]

    def near_general(self, query: Vectors) -> float:
        """How near the general requests are to a unit vector, scored as a route's examples are."""
        return score(self.general, query, centre=self._general_centre)

    def changed(self, generation: int, changes: Mapping[str, Route | None]) -> "Snapshot":
        """The snapshot after specialists were replaced, added, or taken away (None).

        Only of one that nobody in particular sees.
        """
        other = copy(self)
        other.generation = generation
        gone = {each for each, route in changes.items() if route is None}
        if gone:
            left = {each: probe for each, probe in self._probes.items() if each not in gone}
            other._probes = left
        other.kept = tuple(part.without(changes) for part in self.kept)
        other.recent = self.recent.changed(changes)
        other._content = object()
        return other

    @property
    def probes(self) -> Mapping[str, Probe]:
        """What was fitted so far, by specialist."""
        return self._probes

    def probe(self, route: Route) -> Probe | None:
        """What was fitted for a route; None as long as nothing was."""
        found = self._probes.get(route.specialist)
        return found if found is not None and found.digest == route.digest else None

    def refined(self, probes: Mapping[str, Probe]) -> "Snapshot":
        """The same routes with newer probes for some specialists."""
        other = copy(self)
        here = {each: probe for each, probe in probes.items() if self._has(each)}
        together = {**self._probes, **here}
        # Those of a large catalogue that were fitted longest ago make room.
        other._probes = dict(islice(together.items(), max(len(together) - PROBES, 0), None))
        return other

    def shows_the_same_as(self, other: "Snapshot | None") -> bool:
        """Whether both have the same routes."""
        return other is not None and self._content is other._content

    @property
    def _parts(self) -> Sequence[Part]:
        return (*self.kept, self.recent)

    @property
    def searched(self) -> Iterable[tuple[Part, NDArray[np.bool_]]]:
        """The parts, each with the numbers that may be chosen."""
        for part, shown in zip(self._parts, self._shown, strict=True):
            yield part, part.alive if shown is None else part.alive & shown

    def _has(self, specialist: str) -> bool:
        return any(part.number(specialist) is not None for part in self._parts)
