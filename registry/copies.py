"""Copies on this machine of blobs that are kept elsewhere: what was read last stays."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock, Thread

from registry.blobs import BlobStore, Stored
from registry.errors import StorageError

logger = logging.getLogger(__name__)

MOST_BYTES = 10 << 30
"""What they take on a machine, where nobody says how much."""
SPARE_BYTES = 1 << 30
"""Of the disk, that copies leave to others."""
PART = 16
"""A look around after each such part of what they may take; one that removes leaves a part free."""
YOUNG_SECONDS = 60.0
"""What was read so lately may be about to be opened."""


class Copies:
    """Makes room in a folder of copies. For any thread, and any process beside it."""

    def __init__(self, store: BlobStore, is_elsewhere: Callable[[str], bool], most: int) -> None:
        """Look after a folder.

        Args:
            store: the folder; who reads a copy makes it young.
            is_elsewhere: whether the blob of a digest can be had again; others are never removed.
            most: bytes that all of them may take.
        """
        self._store = store
        self._is_elsewhere = is_elsewhere
        self._most = most
        self._lock = Lock()
        # What others left here before is looked at first.
        self._new = most
        self._trimming = False

    def added(self, nbytes: int) -> None:
        """So many bytes came; where these were many, room is made beside whoever reads them."""
        with self._lock:
            self._new += nbytes
            if self._trimming or not self._is_due:
                return
            self._trimming = True
        Thread(target=self._trim_while_due, name="copies", daemon=True).start()

    def trim(self) -> None:
        """Remove what was read longest ago, if all together are too much.

        Raises:
            StorageError: what is here, or elsewhere, cannot be looked at.
        """
        copies = sorted(self._found(), key=lambda each: each.written)
        taken = sum(each.nbytes for each in copies)
        room = min(self._most, taken + _free(self._store.folder) - SPARE_BYTES)
        if taken <= room:
            return
        for copy in copies:
            if taken <= room - self._most // PART or _is_young(copy):
                return
            # Somebody may have read it meanwhile.
            if self._may_go(copy) and self._store.again(copy) == copy:
                self._store.remove(copy)
                taken -= copy.nbytes

    @property
    def _is_due(self) -> bool:
        return self._new >= self._most // PART

    def _trim_while_due(self) -> None:
        while self._begins():
            try:
                self.trim()
            except StorageError as error:
                logger.warning("no room could be made for copies of files: %s", error)

    def _begins(self) -> bool:
        """Whether there is to be another look, which counts from here on."""
        with self._lock:
            self._trimming = self._is_due
            if self._trimming:
                self._new = 0
            return self._trimming

    def _found(self) -> Iterator[Stored]:
        for shard in self._store.shards():
            yield from self._store.stored(shard)

    def _may_go(self, copy: Stored) -> bool:
        return copy.is_draft or self._is_elsewhere(f"sha256:{copy.name}")


def _is_young(copy: Stored) -> bool:
    return time.time() - copy.written < YOUNG_SECONDS


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"Cannot look at {folder}: {error.strerror}.") from error
