"""Content-addressed files: a blob's name is the digest of its bytes, so it never changes."""

import os
import tempfile
from pathlib import Path

from registry.content import Buffer
from registry.digests import digest_bytes, digest_file
from registry.errors import StorageError

BLOBS = "blobs"
"""Their folder in a home."""


class BlobStore:
    """A folder of blobs. A blob is there whole or not at all, whatever stops the writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where a blob lies, whether or not it is there."""
        content = digest.removeprefix("sha256:")
        return self._folder / content[:2] / content

    def put(self, data: Buffer) -> str:
        """Store some bytes durably and return their digest; storing them again changes nothing.

        Raises:
            StorageError: they could not be written, for instance because the disk is full.
        """
        digest = digest_bytes(data)
        path = self.path(digest)
        try:
            if _holds(path, digest):
                # Young again, so that it is not collected before somebody names it.
                path.touch()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_whole(path, data)
            # Also for a blob found there: its writer may not have got as far as this.
            sync_folder(path.parent)
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}.") from error
        return digest

    def folders(self) -> list[Path]:
        """The folders that hold blobs, and drafts of blobs.

        Raises:
            StorageError: they cannot be read.
        """
        try:
            return sorted(each for each in self._folder.iterdir() if each.is_dir())
        except OSError as error:
            raise StorageError(f"Cannot read {self._folder}: {error.strerror}.") from error

    def remove(self, file: Path) -> int:
        """Remove a blob or a draft; returns its bytes.

        Raises:
            StorageError: it cannot be removed.
        """
        try:
            size = file.stat().st_size
            file.unlink()
        except OSError as error:
            raise StorageError(f"Cannot remove {file}: {error.strerror}.") from error
        return size

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
    return path.exists() and digest_file(path) == digest


def _write_whole(path: Path, data: Buffer) -> None:
    handle, name = tempfile.mkstemp(prefix=".incoming-", dir=path.parent)
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
