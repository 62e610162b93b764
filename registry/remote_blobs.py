"""Blobs in a store that fsspec reaches (S3, GCS, Azure, …), each kept in a local folder once used.

Engines read files; so what is read is fetched first, hashed, and kept for the next time.
"""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from registry.blobs import BlobStore, Stored, place
from registry.content import Buffer
from registry.copies import MOST_BYTES, Copies
from registry.errors import StorageError
from registry.remote_files import RemoteFiles

YOUNG_SECONDS = 600.0
"""A blob found there that is younger is not written again to be young."""


class RemoteBlobStore:
    """A store of blobs at a URL. Thread-safe; objects appear whole, as such stores promise."""

    def __init__(self, url: str, cache: BlobStore, most: int = MOST_BYTES) -> None:
        """Keep blobs at `url`, and copies of those in use in `cache`, of so many bytes at most.

        Raises:
            StorageError: nothing installed reaches such a URL.
        """
        self._far = RemoteFiles(url)
        self._cache = cache
        self._copies = Copies(cache, self.has, most)

    def put(self, data: Buffer) -> str:
        """See `Blobs.put`; it is in the store when this returns."""
        digest = self._cache.put(data)
        written = self._far.written(place(digest))
        if written is None or time.time() - written > YOUNG_SECONDS:
            self._far.put(self._cache.path(digest), place(digest))
        self._copies.added(len(data))
        return digest

    def has(self, digest: str) -> bool:
        """See `Blobs.has`."""
        return self._far.written(place(digest)) is not None

    def path(self, digest: str) -> Path:
        """See `Blobs.path`."""
        return self._cache.path(digest)

    def verified(self, digest: str) -> Path:
        """See `Blobs.verified`; fetched first where it is not here, or damaged."""
        try:
            found = self._cache.verified(digest)
        except StorageError:
            self._fetch(digest)
            found = self._cache.verified(digest)
        with suppress(FileNotFoundError):
            os.utime(found)
        return found

    def shards(self) -> list[str]:
        """See `Blobs.shards`."""
        return self._far.folders()

    def stored(self, shard: str) -> list[Stored]:
        """See `Blobs.stored`."""
        return [Stored(shard, *file) for file in self._far.files(shard)]

    def again(self, blob: Stored) -> Stored | None:
        """See `Blobs.again`."""
        written = self._far.written(blob.place)
        return None if written is None else replace(blob, written=written)

    def remove(self, blob: Stored) -> None:
        """See `Blobs.remove`; its copy here goes too."""
        self._far.remove(blob.place)
        self._cache.path(blob.name).unlink(missing_ok=True)

    def _fetch(self, digest: str) -> None:
        with self._cache.draft(digest) as draft:
            self._far.get(place(digest), draft)
            nbytes = draft.stat().st_size
        self._copies.added(nbytes)
