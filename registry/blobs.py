"""Content-addressed files: a blob's name is the digest of its bytes, so it never changes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry.content import Buffer
from registry.digests import digest_bytes, digest_file
from registry.errors import StorageError

BLOBS = "blobs"
"""Their folder in a home."""
_DRAFT = ".incoming-"
TRIES = 10


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a store, a blob by the digits of its digest; `written` in Unix seconds."""

    shard: str
    name: str
    nbytes: int
    written: float

    @property
    def place(self) -> str:
        """Where it lies in its store."""
        return f"{self.shard}/{self.name}"

    @property
    def is_draft(self) -> bool:
        """Whether it was never finished, or is being written."""
        return self.name.startswith(_DRAFT)


def place(digest: str) -> str:
    """Where a blob lies in any store: its part, and its name there."""
    content = digest.removeprefix("sha256:")
    return f"{content[:2]}/{content}"


class Blobs(Protocol):
    """Where the files of versions are kept: a folder, or a store elsewhere.

    Every method but `path` may raise StorageError.
    """

    def put(self, data: Buffer) -> str:
        """Store some bytes durably and return their digest; storing them again changes nothing."""

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""

    def path(self, digest: str) -> Path:
        """Where a blob lies on this machine, once it was read here."""

    def verified(self, digest: str) -> Path:
        """Where a blob lies on this machine, once its content was found to have its digest."""

    def shards(self) -> list[str]:
        """The parts that the store is divided into, to be looked through one by one."""

    def stored(self, shard: str) -> list[Stored]:
        """What lies in a part: blobs, and drafts of blobs."""

    def again(self, blob: Stored) -> Stored | None:
        """The same as it is now; None once it has gone."""

    def remove(self, blob: Stored) -> None:
        """Remove a blob or a draft."""


def ensure(store: Blobs, digest: str, content: Buffer) -> None:
    """Put a blob again that was collected since it was put.

    Within a writing transaction: nothing is collected while one is open.
    """
    if not store.has(digest):
        store.put(content)


class BlobStore:
    """A folder of blobs. A blob is there whole or not at all, whatever stops the writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._folder

    def path(self, digest: str) -> Path:
        """Where a blob lies, whether or not it is there."""
        return self._folder / place(digest)

    def put(self, data: Buffer) -> str:
        """Store some bytes durably and return their digest; storing them again changes nothing.

        Raises:
            StorageError: they could not be written, for instance because the disk is full.
        """
        digest = digest_bytes(data)
        path = self.path(digest)
        try:
            if not (_holds(path, digest) and _is_young_again(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_whole(path, data)
            # Also for a blob found there: its writer may not have got as far as this.
            sync_folder(path.parent)
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}.") from error
        return digest

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return self.path(digest).exists()

    def shards(self) -> list[str]:
        """The parts that the store is divided into, to be looked through one by one.

        Raises:
            StorageError: they cannot be read.
        """
        with _translated(self._folder):
            return sorted(each.name for each in self._folder.iterdir() if each.is_dir())

    def stored(self, shard: str) -> list[Stored]:
        """What lies in a part: blobs, and drafts of blobs.

        Raises:
            StorageError: it cannot be read.
        """
        with _translated(self._folder):
            found = (self._stored(shard, file.name) for file in (self._folder / shard).iterdir())
            return [each for each in found if each is not None]

    def again(self, blob: Stored) -> Stored | None:
        """The same as it is now; None once it has gone."""
        with _translated(self._folder):
            return self._stored(blob.shard, blob.name)

    def remove(self, blob: Stored) -> None:
        """Remove a blob or a draft, if nobody else has.

        Raises:
            StorageError: it cannot be removed.
        """
        with _translated(self._folder):
            (self._folder / blob.place).unlink(missing_ok=True)

    @contextmanager
    def draft(self, digest: str) -> Iterator[Path]:
        """A file to be filled, which takes a blob's place if its content is the blob's."""
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_DRAFT, dir=path.parent)
        os.close(handle)
        try:
            yield Path(name)
            if digest_file(Path(name)) == digest:
                Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def _stored(self, shard: str, name: str) -> Stored | None:
        try:
            found = (self._folder / shard / name).stat()
        except FileNotFoundError:
            return None
        return Stored(shard, name, found.st_size, found.st_mtime)

    def verified(self, digest: str) -> Path:
        """Where a blob lies, once its content was found to have its digest.

        Raises:
            StorageError: it is missing, unreadable or damaged; storing it again mends it.
        """
        path = self.path(digest)
        try:
            if digest_file(path) == digest:
                return path
        except OSError as error:
            raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
        raise StorageError(f"{digest} is damaged: the file no longer has the content of its name.")


def _holds(path: Path, digest: str) -> bool:
    try:
        return digest_file(path) == digest
    except FileNotFoundError:
        return False


def _is_young_again(path: Path) -> bool:
    """Whether a blob is there, not to be collected before somebody names it; it is not made."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write_whole(path: Path, data: Buffer) -> None:
    for left in reversed(range(TRIES)):
        try:
            _write_once(path, data)
        except FileNotFoundError:
            # A draft that was older than a collection's grace was collected while it was written.
            if not left:
                raise
        else:
            return


def _write_once(path: Path, data: Buffer) -> None:
    handle, name = tempfile.mkstemp(prefix=_DRAFT, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename within a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot tidy {folder}: {error.strerror}.") from error
