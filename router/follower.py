"""Keeps a replica's snapshot level with the registry."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from registry.catalogue import Registry, Version
from registry.errors import StorageError
from router.encoder import Encoder, Vectors
from router.general import general_vectors
from router.index import Index
from router.snapshot import Route, Snapshot

logger = logging.getLogger(__name__)

CACHED_TEXTS = 20_000


class Follower:
    """Polls the registry in a thread of its own and swaps in a whole new snapshot per change."""

    def __init__(
        self,
        registry: Registry,
        encoder: Encoder,
        interval: float = 0.2,
        cache: Path | None = None,
    ) -> None:
        """Follow `registry`, asking it every `interval` seconds.

        The general requests are encoded before the first snapshot, or read from the folder `cache`.
        """
        self._registry = registry
        self._encoder = encoder
        self._cache = cache
        self._vectors = VectorCache(encoder, CACHED_TEXTS)
        self._interval = interval
        self._snapshot: Snapshot | None = None
        self._refreshing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot; None before the first is built."""
        return self._snapshot

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """End polling, and wait for a refresh that is under way."""
        self._stopping.set()
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
            while self._snapshot.generation < self._registry.generation():
                self._snapshot = self._next(self._snapshot)

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
        routes: list[Route] = []
        while versions := self._registry.live(routes[-1].specialist if routes else ""):
            routes.extend(self._routes(versions))
        # Last, since it takes longest: a registry that cannot be read has failed by now.
        base = Index([general_vectors(self._encoder, self._cache)])
        return Snapshot(generation, routes, base)

    def _next(self, snapshot: Snapshot) -> Snapshot:
        changes = self._registry.changes(snapshot.generation)
        current = {change.id: change.version for change in changes}
        known = {route.digest: route for route in snapshot.routes}
        fresh = [v for v in current.values() if v is not None and v.digest not in known]
        known.update((route.digest, route) for route in self._routes(fresh))
        routes = {id_: known[v.digest] if v is not None else None for id_, v in current.items()}
        return snapshot.changed(changes[-1].seq, routes)

    def _routes(self, versions: Iterable[Version]) -> list[Route]:
        return [
            Route(v.id, v.number, v.digest, self._vectors.encode(examples(v))) for v in versions
        ]


class VectorCache:
    """An encoder's vectors for the `size` texts asked for last. For one thread at a time."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder = encoder
        self._size = size
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions], encoding only what is new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self._vectors.update(zip(new, self._encoder.encode(new), strict=True) if new else ())
        for text in texts:
            self._vectors.move_to_end(text)
        vectors = np.stack([self._vectors[text] for text in texts])
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)
        return vectors


def examples(version: Version) -> list[str]:
    """The texts by which a version is found: its examples, or its description without any."""
    return list(version.card.examples) or [version.card.description]
