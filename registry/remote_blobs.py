"""Blobs in a store that fsspec reaches (S3, GCS, Azure, …), each kept in a local folder once used.

Engines read files; so what is read is fetched first, hashed, and kept for the next time.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from registry.blobs import BlobStore, Stored, place
from registry.content import Buffer
from registry.copies import MOST_BYTES, Copies
from registry.errors import StorageError

YOUNG_SECONDS = 600.0
"""A blob found there that is younger is not written again to be young."""


class RemoteBlobStore:
    """A store of blobs at a URL. Thread-safe; objects appear whole, as such stores promise."""

    def __init__(self, url: str, cache: BlobStore, most: int = MOST_BYTES) -> None:
        """Keep blobs at `url`, and copies of those in use in `cache`, of so many bytes at most.

        Raises:
            StorageError: nothing installed reaches such a URL.
        """
        self._cache = cache
        self._copies = Copies(cache, self.has, most)
        self._url = url
        with _translated(url):
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")

    def put(self, data: Buffer) -> str:
        """See `Blobs.put`; it is in the store when this returns."""
        digest = self._cache.put(data)
        with _translated(self._url):
            written = self._written(self._key(digest))
            if written is None or time.time() - written > YOUNG_SECONDS:
                self._make_folder(digest)
                self._files.put_file(str(self._cache.path(digest)), self._key(digest))
        self._copies.added(len(data))
        return digest

    def has(self, digest: str) -> bool:
        """See `Blobs.has`."""
        with _translated(self._url):
            return self._written(self._key(digest)) is not None

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
        with _translated(self._url):
            if not self._files.exists(self._root):
                return []
            found = self._files.ls(self._root, detail=True, refresh=True)
            return sorted(each["name"].rpartition("/")[2] for each in found if _is_folder(each))

    def stored(self, shard: str) -> list[Stored]:
        """See `Blobs.stored`."""
        with _translated(self._url):
            found = self._files.ls(f"{self._root}/{shard}", detail=True, refresh=True)
            return [
                Stored(shard, each["name"].rpartition("/")[2], each["size"], self._time(each))
                for each in found
                if not _is_folder(each)
            ]

    def again(self, blob: Stored) -> Stored | None:
        """See `Blobs.again`."""
        key = f"{self._root}/{blob.place}"
        with _translated(self._url):
            written = self._written(key)
            return None if written is None else Stored(blob.shard, blob.name, blob.nbytes, written)

    def remove(self, blob: Stored) -> None:
        """See `Blobs.remove`; its copy here goes too."""
        with _translated(self._url):
            self._files.rm_file(f"{self._root}/{blob.place}")
        self._cache.path(blob.name).unlink(missing_ok=True)

    def _key(self, digest: str) -> str:
        return f"{self._root}/{place(digest)}"

    def _make_folder(self, digest: str) -> None:
        """Object stores have none, and would make a bucket of that name."""
        if "file" in self._files.protocol:
            self._files.makedirs(self._key(digest).rpartition("/")[0], exist_ok=True)

    def _fetch(self, digest: str) -> None:
        with _translated(self._url), self._cache.draft(digest) as draft:
            self._files.get_file(self._key(digest), str(draft))
            nbytes = draft.stat().st_size
        self._copies.added(nbytes)

    def _written(self, key: str) -> float | None:
        """When a blob was written, in Unix seconds; None if it is not there."""
        try:
            return self._time(self._files.info(key, refresh=True))
        except FileNotFoundError:
            return None

    def _time(self, entry: dict[str, Any]) -> float:
        if isinstance(entry.get("mtime"), int | float):
            return float(entry["mtime"])
        moment = entry.get("LastModified") or self._files.modified(entry["name"])
        return float(moment.timestamp())


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Whatever a store's own library raises is a failure of storage; each has its own errors."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        shown = url.partition("?")[0].rpartition("@")[2]
        raise StorageError(f"The files' store {shown} failed: {error!r}.") from error
