"""Keeps a replica's snapshot level with the registry."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import StorageError
from registry.registry import Live, Registry
from router.routing.decision import Decision
from router.routing.encoder import Encoder
from router.routing.general import follow_up_probe
from router.routing.index import NEIGHBOURS
from router.routing.pack import Pack
from router.routing.probe import Probe
from router.routing.probe_store import probe_store
from router.routing.refiner import RETRY, Refiner, first_probes
from router.routing.route import Route
from router.routing.shelf import AT_FIRST, Shelf
from router.routing.snapshot import Snapshot
from router.routing.vectors import VectorStore, name_of
from router.routing.view import base_vectors

logger = logging.getLogger(__name__)

FIRST = 4
"""New specialists of few examples, up to so many at once, have probes from the first moment."""
FORMAT = "2"
"""Of what is kept of routes on disk."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the first snapshot is: specialists read, of so many."""

    done: int
    of: int


class Follower:
    """Polls the registry in a thread of its own and swaps in a new snapshot per change.

    Attributes:
        skipped: specialists that cannot be routed to, each with the reason.
        refiner: fits the snapshot's probes in a thread of its own, once this is started.
    """

    def __init__(
        self,
        registry: Registry,
        encoder: Encoder,
        interval: float = 0.2,
        cache: Path | None = None,
    ) -> None:
        """Follow `registry`, asking it every `interval` seconds.

        Vectors are read from the folder `cache`, and kept there when they had to be encoded.
        """
        self.skipped: dict[str, str] = {}
        self.refiner = Refiner(lambda: self._snapshot, self._refine, probe_store(encoder, cache))
        self._registry = registry
        self._encoder = encoder
        self._cache = cache
        self._vectors = VectorStore(encoder, cache)
        self._shelf = _shelf(registry, encoder, cache)
        self._interval = interval
        self._tidy_from = 0.0
        self._complain_from: dict[type[Exception], float] = {}
        self._snapshot: Snapshot | None = None
        self._reading = Reading(0, 0)
        self._ready = threading.Event()
        self._refreshing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot; None before the first is built."""
        return self._snapshot

    def find(self, specialist: str) -> Route | None:
        """A specialist's route in the newest snapshot, if it has one."""
        return self._snapshot.find(specialist) if self._snapshot is not None else None

    def decided(self, decision: Decision) -> Route | None:
        """The route of the version that was decided on, if it is a live one."""
        route = self.find(decision.specialist) if decision.specialist is not None else None
        return route if route is not None and route.digest == decision.digest else None

    @property
    def reading(self) -> Reading:
        """How far the first snapshot is."""
        return self._reading

    def start(self) -> None:
        """Begin to poll, and to refine what is found."""
        self._thread.start()
        self.refiner.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the first snapshot; False when it was not there in time."""
        return self._ready.wait(seconds)

    def stop(self) -> None:
        """End polling, and wait for a refresh that is under way."""
        self._stopping.set()
        self.refiner.stop()
        if self._thread.is_alive():
            self._thread.join()
        if self._shelf is not None:
            self._shelf.close()

    def refresh(self) -> None:
        """Take in everything the registry holds by now; on return the snapshot shows it.

        Raises:
            StorageError: When the registry cannot be read at the moment.
        """
        with self._refreshing:
            before = self._snapshot
            self._snapshot = self._level(self._first() if before is None else before)
            self._ready.set()
            if self._snapshot is not before:
                self.refiner.wake()

    def tidy(self) -> None:
        """Move to disk what there is much of; the snapshot shows the same routes ever after.

        Raises:
            StorageError: When the registry cannot be read at the moment.
            OSError: The disk cannot be written.
        """
        if self._snapshot is None or self._shelf is None:
            return
        if not self._shelf.tidy(self._snapshot, self.skipped):
            return
        shelved = self._shelf.read()
        if shelved is None:
            return
        with self._refreshing:
            before = self._snapshot
            read = Snapshot(shelved.generation, [], before.general, before.follow_up, shelved.packs)
            self._snapshot = self._level(read).refined(before.probes)
            self.refiner.wake()

    @property
    def is_tidying(self) -> bool:
        """Whether `tidy` has something to do, or waits for what it began."""
        if self._snapshot is None or self._shelf is None:
            return False
        return self._shelf.is_busy(self._snapshot)

    def _refine(self, probes: Mapping[str, Probe]) -> None:
        with self._refreshing:
            if self._snapshot is not None:
                self._snapshot = self._snapshot.refined(probes)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self.refresh()
                self._tidy_in_time()
                self._complain_from.clear()
            except Exception as error:
                self._complain(error)
            self._stopping.wait(self._interval)

    def _complain(self, error: Exception) -> None:
        """Log an error, but not at every look: what is away may be so for hours."""
        if time.monotonic() < self._complain_from.get(type(error), 0.0):
            return
        self._complain_from[type(error)] = time.monotonic() + RETRY
        if isinstance(error, StorageError):
            logger.warning("the registry cannot be read, trying again: %s", error)
        else:
            logger.error("the snapshot could not be brought up to date", exc_info=error)

    def _tidy_in_time(self) -> None:
        """Tidy, but after a failure not before a while has passed: routing needs none of it."""
        if time.monotonic() < self._tidy_from:
            return
        try:
            self.tidy()
        except OSError as error:
            logger.warning("routes are moved to disk later: %s", error)
            self._tidy_from = time.monotonic() + RETRY

    def _first(self) -> Snapshot:
        shelved = self._shelf.read() if self._shelf else None
        # Asked before reading: what is registered meanwhile is then merely read twice.
        generation = shelved.generation if shelved else self._registry.generation()
        packs: list[Pack] = list(shelved.packs) if shelved else []
        recent = [] if shelved else self._read_all(packs)
        self.skipped |= shelved.skipped if shelved else {}
        # Last, since it may take longest: a registry that cannot be read has failed by now.
        bases = base_vectors(self._encoder, self._cache)
        first = Snapshot(generation, recent, bases, follow_up_probe(bases), packs)
        if packs and self._shelf and not shelved:
            self._shelf.note(first, packs, self.skipped)
        return first

    def _read_all(self, packs: list[Pack]) -> list[Route]:
        """All routes; very many come to `packs` instead, and none is left."""
        self._reading = Reading(0, self._registry.count())
        recent: list[Route] = []
        for route in self._all_routes():
            recent.append(route)
            if len(recent) >= AT_FIRST:
                recent = self._moved(recent, packs)
        return self._moved(recent, packs) if packs and recent else recent

    def _moved(self, routes: list[Route], packs: list[Pack]) -> list[Route]:
        """What is left in memory after routes were moved to another pack, if they can be."""
        pack = self._shelf.move(routes) if self._shelf else None
        if pack is None:
            return routes
        packs.append(pack)
        return []

    def _level(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with all that changed since."""
        while snapshot.generation < self._registry.generation():
            snapshot = self._next(snapshot)
        return snapshot

    def _all_routes(self) -> Iterator[Route]:
        last = ""
        while found := self._registry.live(last):
            for live in found:
                if (route := self._route(live)) is not None:
                    yield route
                self._reading = Reading(self._reading.done + 1, self._reading.of)
            last = found[-1].id

    def _next(self, snapshot: Snapshot) -> Snapshot:
        changes = self._registry.changes(snapshot.generation)
        current = {change.id: change.live for change in changes}
        routes = {id_: self._route(live) if live else None for id_, live in current.items()}
        for id_ in (id_ for id_, live in current.items() if live is None):
            self.skipped.pop(id_, None)
        changed = snapshot.changed(changes[-1].seq, routes)
        # Of few examples little is known without a probe; others have theirs a moment later.
        few = [each for each in routes.values() if each and len(each.rows) < NEIGHBOURS]
        return changed.refined(first_probes(changed, few)) if len(few) <= FIRST else changed

    def _route(self, live: Live) -> Route | None:
        """The route of a live version; None where its card or its examples cannot be read."""
        try:
            rows = self._vectors.of_version(live.digest, lambda: self._examples(live.digest))
        except StorageError:
            raise
        except Exception as error:
            logger.exception("%s (%s) cannot be routed to", live.id, live.digest)
            self.skipped[live.id] = str(error) or type(error).__name__
            return None
        self.skipped.pop(live.id, None)
        since = live.since.timestamp()
        return Route(
            live.id,
            live.number,
            live.digest,
            rows,
            since,
            live.canary,
            live.visibility,
            live.traits,
        )

    def _examples(self, digest: str) -> list[str]:
        return self._registry.card(digest).routed_by


def _shelf(registry: Registry, encoder: Encoder, cache: Path | None) -> Shelf | None:
    """What keeps this base's specialists below `cache`, as this encoder reads them."""
    if cache is None:
        return None
    return Shelf(cache / f"routes-{name_of(encoder.identity, registry.base, FORMAT)}", registry)
