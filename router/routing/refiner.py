"""Fits the routes' probes in the background, against what lies around them."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.view import Visibility
from router.routing.copies import originals
from router.routing.encoder import Vectors
from router.routing.index import centroid
from router.routing.probe import Probe, fit
from router.routing.probe_store import ProbeStore
from router.routing.snapshot import Route, Snapshot

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
MOST = 20_000
"""Routes up to which probes are fitted; of more, neighbours take too long to find."""
PATIENCE = 1.0
"""Seconds of fitting after which what is done is given, and what has changed is looked at."""
RETRY = 30.0
"""Seconds."""
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Task:
    """A route whose probe is to be fitted, and the routes it is told apart from."""

    route: Route
    neighbours: tuple[Route, ...]
    against: str


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
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="refiner", daemon=True)

    def start(self) -> None:
        """Begin to fit."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the snapshot again."""
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
            self._changed.wait()
            self._changed.clear()
            try:
                self.settle()
            except Exception:
                logger.exception("probes could not be fitted, trying again; the old ones stay")
                self._stopping.wait(RETRY)
                self._changed.set()

    def _round(self) -> bool:
        """Fit what is out of date, for a while; whether anything may be left to do."""
        snapshot = self._snapshot()
        if snapshot is None or len(snapshot) > MOST or snapshot.shows_the_same_as(self._settled):
            return False
        new = [route for route in snapshot.routes if snapshot.probe(route) is None]
        if self._settled is not None and 0 < len(new) <= SOON:
            self._give(first_probes(snapshot, new))
            return True
        fitted: dict[str, Probe] = {}
        until = time.monotonic() + PATIENCE
        for task in stale(snapshot):
            if self._stopping.is_set() or (fitted and time.monotonic() > until):
                break
            fitted[task.route.specialist] = self._fitted(task, snapshot.general)
        else:
            self._settled = snapshot
        self._give(fitted)
        return self._settled is not snapshot

    def _fitted(self, task: Task, general: Vectors) -> Probe:
        kept = self._store.read(task.route.digest, task.against)
        if kept is not None:
            return kept
        probe = fit_route(task, general)
        self._store.write(probe)
        return probe


def stale(snapshot: Snapshot) -> list[Task]:
    """What is to be fitted, routes without any probe first."""
    routes = snapshot.routes
    tasks = []
    for route, around in zip(routes, neighbours(routes), strict=True):
        probe, name = snapshot.probe(route), against(route, around)
        if probe is None or probe.against != name:
            tasks.append(Task(route, around, name))
    return sorted(tasks, key=lambda task: snapshot.probe(task.route) is not None)


def first_probes(snapshot: Snapshot, routes: Sequence[Route]) -> dict[str, Probe]:
    """Probes of a few new routes, by specialist, against the routes whose examples are nearest.

    They are fitted anew when their neighbours turn out to be others.
    """
    fitted = {}
    for route in routes:
        owner = NOBODY if route.visibility == Visibility.PUBLIC else route.owner
        centre = centroid(route.vectors.astype(np.float32))
        found = snapshot.seen_by(owner).nearest(centre, NEIGHBOURS + 1)
        around = tuple(each for each, _ in found if each.specialist != route.specialist)
        task = Task(route, around[:NEIGHBOURS], against(route, around[:NEIGHBOURS]))
        fitted[route.specialist] = fit_route(task, snapshot.general)
    return fitted


def fit_route(task: Task, general: Vectors) -> Probe:
    """The probe of a route, against the nearest examples of its neighbours and general requests."""
    route = task.route
    own = originals(route, task.neighbours)
    if not len(own):
        # All of it was copied: nothing is a request of its own.
        nothing = np.zeros(general.shape[1], dtype=np.float32)
        return Probe(nothing, -np.inf, route.digest, task.against)
    centre = centroid(own)
    others = [_nearest(originals(each, [route]), centre) for each in task.neighbours]
    weights, bias = fit(own, np.concatenate([*others, general]))
    return Probe(weights, bias, route.digest, task.against)


def against(route: Route, around: Sequence[Route]) -> str:
    """Names a route's examples and those of its neighbours, and who had them first."""
    named = [f"{each.digest} {each.since!r}" for each in (route, *around)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


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
    return centroid(route.vectors[:, :COARSE].astype(np.float32))


def _nearest(rows: Vectors, centre: Vectors) -> Vectors:
    if len(rows) <= EXAMPLES:
        return rows
    return rows[np.argsort(-(rows @ centre), kind="stable")[:EXAMPLES]]
