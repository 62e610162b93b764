"""Fits the routes' probes in the background, against what lies around them."""

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.view import Visibility
from router.routing.copies import originals
from router.routing.encoder import Vectors
from router.routing.index import centroid, nearest_rows
from router.routing.probe import Probe, fit
from router.routing.probe_store import ProbeStore
from router.routing.route import Route
from router.routing.snapshot import PROBES, Snapshot

logger = logging.getLogger(__name__)

NEIGHBOURS = 32
EXAMPLES = 20
"""Of each neighbour, the ones nearest to what is told apart from them."""
COARSE = 128
"""Coordinates by which neighbours are found; the first ones hold most of the variance."""
SOON = 32
"""New routes, up to so many at once, are fitted before all neighbours are looked for."""
NOBODY = ""
"""Owns nothing, and so sees what is public."""
ROWS = 1024
MOST = PROBES
"""Routes up to which all have probes. Of more those have that are asked for, so many at most."""
WANTED = 256
"""Routes that wait to be fitted, since they are asked for."""
PATIENCE = 1.0
"""Seconds of fitting after which what is done is given, and what has changed is looked at.

So long a burst of changes is waited out, too.
"""
LULL = 0.1
"""Seconds without a change in which fitting begins: it would hold up who registers the next."""
RETRY = 30.0
"""Seconds."""
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Task:
    """A route whose probe is to be fitted, and the routes it is told apart from, by their names.

    `against` names the examples of all, and who had them first.
    """

    route: Route
    neighbours: tuple[Route, ...]
    against: str

    @classmethod
    def of(cls, route: Route, around: Sequence[Route]) -> "Task":
        """The task, whatever the order of what lies around."""
        ordered = tuple(sorted(around, key=lambda each: each.specialist))
        named = [f"{each.digest} {each.since!r}" for each in (route, *ordered)]
        return cls(route, ordered, hashlib.sha256("\n".join(named).encode()).hexdigest())


class Refiner:
    """A thread that keeps every route's probe level with the routes around it.

    A probe follows from its route, its neighbours and the general requests alone, in whatever order
    they came. Neighbours are public, or the owner's own where the route itself is not public: what
    an owner keeps private moves no one else's requests.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot | None],
        give: Callable[[Mapping[str, Probe]], None],
        store: ProbeStore | None = None,
    ) -> None:
        """Fit for what `snapshot` shows, and `give` it newer probes, by specialist.

        What `store` keeps is not fitted again.
        """
        self._snapshot = snapshot
        self._give = give
        self._store = store or ProbeStore(None, 0)
        self._settled: Snapshot | None = None
        self._wanted: deque[str] = deque(maxlen=WANTED)
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="refiner", daemon=True)

    def start(self) -> None:
        """Begin to fit."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the snapshot again."""
        self._changed.set()

    def want(self, specialists: Collection[str]) -> None:
        """Fit these, which are asked for and have no probes, unless they are to have them anyway.

        Of a catalogue that is too large for all to have them.
        """
        snapshot = self._snapshot()
        if specialists and snapshot is not None and len(snapshot) > MOST:
            self._wanted.extend(specialists)
            self._changed.set()

    def stop(self) -> None:
        """End fitting, after the probe that is being fitted."""
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def settle(self) -> None:
        """Fit until no probe is out of date."""
        while not self._stopping.is_set() and self._round():
            pass

    def _work(self) -> None:
        # Requests go first. Only Linux has priorities of threads, by their ids.
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopping.is_set():
            self._wait_for_a_change()
            try:
                self.settle()
            except Exception:
                logger.exception("probes could not be fitted, trying again; the old ones stay")
                self._stopping.wait(RETRY)
                self._changed.set()

    def _wait_for_a_change(self) -> None:
        """Wait for one, and for the end of the burst that it may have begun."""
        self._changed.wait()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not self._stopping.is_set():
            self._changed.clear()
            if not self._changed.wait(LULL):
                return
        self._changed.clear()

    def _round(self) -> bool:
        """Fit what is out of date while the routes stay; whether anything may be left to do."""
        snapshot = self._snapshot()
        if snapshot is None:
            return False
        if len(snapshot) > MOST:
            return self._wanted_round(snapshot)
        if snapshot.shows_the_same_as(self._settled):
            return False
        routes = snapshot.routes
        new = [route for route in routes if snapshot.probe(route) is None]
        if self._settled is not None and 0 < len(new) <= SOON:
            self._give(first_probes(snapshot, new))
            return True
        fitted: dict[str, Probe] = {}
        until = time.monotonic() + PATIENCE
        for task in stale(snapshot, routes):
            fitted[task.route.specialist] = self._fitted(task, snapshot.general)
            if self._stopping.is_set() or time.monotonic() > until:
                self._give(fitted)
                if self._stopping.is_set() or not snapshot.shows_the_same_as(self._snapshot()):
                    return True
                fitted, until = {}, time.monotonic() + PATIENCE
        self._give(fitted)
        self._settled = snapshot
        return False

    def _wanted_round(self, snapshot: Snapshot) -> bool:
        """Fit one route that is asked for; whether there are more."""
        try:
            route = snapshot.find(self._wanted.popleft())
        except IndexError:
            return False
        if route is not None and snapshot.probe(route) is None:
            self._give(
                {route.specialist: self._fitted(first_task(snapshot, route), snapshot.general)}
            )
        return True

    def _fitted(self, task: Task, general: Vectors) -> Probe:
        kept = self._store.read(task.route.digest, task.against)
        if kept is not None:
            return kept
        probe = fit_route(task, general)
        self._store.write(probe)
        return probe


def settled(snapshot: Snapshot) -> Snapshot:
    """The same routes with the probes that a refiner gives them in the end."""
    tasks = stale(snapshot, snapshot.routes)
    general = snapshot.general
    return snapshot.refined({task.route.specialist: fit_route(task, general) for task in tasks})


def stale(snapshot: Snapshot, routes: Sequence[Route]) -> list[Task]:
    """What is to be fitted of a snapshot's routes, those without any probe first."""
    tasks = []
    for route, around in zip(routes, neighbours(routes), strict=True):
        probe, task = snapshot.probe(route), Task.of(route, around)
        if probe is None or probe.against != task.against:
            tasks.append(task)
    return sorted(tasks, key=lambda task: snapshot.probe(task.route) is not None)


def first_probes(snapshot: Snapshot, routes: Sequence[Route]) -> dict[str, Probe]:
    """Probes of a few new routes, by specialist, against the routes whose examples are nearest.

    They are fitted anew if their neighbours turn out to be others.
    """
    tasks = [first_task(snapshot, route) for route in routes]
    return {task.route.specialist: fit_route(task, snapshot.general) for task in tasks}


def first_task(snapshot: Snapshot, route: Route) -> Task:
    """A route's probe, told apart from the routes that a search for its examples finds."""
    owner = NOBODY if route.visibility == Visibility.PUBLIC else route.owner
    centre = centroid(route.vectors)
    # A few examples are easily near to anything; what a route is mistaken for has many.
    prior = snapshot.near_general(centre)
    found = snapshot.seen_by(owner).nearest(centre, NEIGHBOURS + 1, prior)
    around = [each for each, _ in found if each.specialist != route.specialist]
    return Task.of(route, around[:NEIGHBOURS])


def fit_route(task: Task, general: Vectors) -> Probe:
    """The probe of a route, against the nearest examples of its neighbours and general requests."""
    route = task.route
    own = originals(route, task.neighbours)
    if not len(own):
        # All of it was copied: nothing is a request of its own.
        nothing = np.zeros(general.shape[1], dtype=np.float32)
        return Probe(nothing, -np.inf, route.digest, task.against)
    centre = centroid(own)
    others = [nearest_rows(originals(each, [route]), centre, EXAMPLES) for each in task.neighbours]
    weights, bias = fit(own, np.concatenate([*others, general]))
    return Probe(weights, bias, route.digest, task.against)


def neighbours(routes: Sequence[Route]) -> Iterator[tuple[Route, ...]]:
    """Of each route the ones whose examples lie around its own, nearest first."""
    if not routes:
        return
    centres = np.stack([_coarse(route) for route in routes])
    shown = np.array([route.visibility == Visibility.PUBLIC for route in routes])
    numbers: dict[str, int] = {}
    owners = np.array([numbers.setdefault(route.owner, len(numbers)) for route in routes])
    for start in range(0, len(routes), ROWS):
        some = slice(start, start + ROWS)
        near = centres[some] @ centres.T
        mine = ~shown[some, None] & (owners[some, None] == owners)
        near[~(shown | mine)] = -np.inf
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -np.inf
        for row in near:
            yield tuple(routes[at] for at in _best(row))


def _best(near: Vectors) -> NDArray[np.intp]:
    """The places of the largest numbers, largest first; of equal ones the first."""
    count = min(NEIGHBOURS, len(near))
    some = np.flatnonzero(near >= np.partition(near, -count)[-count]) if count else np.arange(0)
    order = some[np.argsort(-near[some], kind="stable")][:count]
    return order[near[order] > -np.inf]


def _coarse(route: Route) -> Vectors:
    return centroid(route.rows.floats(COARSE))
