"""Keeps a replica's snapshot level with the registry."""

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import StorageError
from registry.registry import Live, Registry
from router.routing.encoder import Encoder
from router.routing.general import base_requests, follow_up_probe
from router.routing.index import NEIGHBOURS
from router.routing.probe import Probe
from router.routing.probe_store import probe_store
from router.routing.refiner import Refiner, first_probes
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.vectors import VectorStore, kept_vectors

logger = logging.getLogger(__name__)

FIRST = 4
"""New specialists of few examples, up to so many at once, have probes from the first moment."""


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
        self._interval = interval
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

    def refresh(self) -> None:
        """Take in everything the registry holds by now; on return the snapshot shows it.

        Raises:
            StorageError: When the registry cannot be read at the moment.
        """
        with self._refreshing:
            if self._snapshot is None:
                self._snapshot = self._first()
                self._ready.set()
                self.refiner.wake()
            while self._snapshot.generation < self._registry.generation():
                self._snapshot = self._next(self._snapshot)
                self.refiner.wake()

    def _refine(self, probes: Mapping[str, Probe]) -> None:
        with self._refreshing:
            if self._snapshot is not None:
                self._snapshot = self._snapshot.refined(probes)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self.refresh()
            except StorageError as error:
                logger.warning("the registry cannot be read, trying again: %s", error)
            except Exception:
                logger.exception("the snapshot could not be brought up to date, trying again")
            self._stopping.wait(self._interval)

    def _first(self) -> Snapshot:
        # Asked before reading: what is registered meanwhile is then merely read twice.
        generation = self._registry.generation()
        self._reading = Reading(0, self._registry.count())
        routes = list(self._all_routes())
        # Last, since it takes longest: a registry that cannot be read has failed by now.
        bases = kept_vectors(self._encoder, base_requests(), self._cache, "general")
        return Snapshot(generation, routes, bases, follow_up_probe(bases))

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
