import errno
import os

import pytest

from registry import blobs as blobs_module
from registry.blobs import BlobStore
from registry.digests import digest_bytes
from registry.errors import StorageError


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_put_is_read_by_its_digest(blobs):
    digest = blobs.put(b"weights")
    assert digest == digest_bytes(b"weights")
    assert blobs.verified(digest) == blobs.path(digest)
    assert blobs.path(digest).read_bytes() == b"weights"


def test_the_same_bytes_are_stored_once(blobs, tmp_path):
    digest = blobs.put(b"weights")
    os.utime(blobs.path(digest), (0, 0))
    before = blobs.path(digest).stat()
    assert blobs.put(b"weights") == digest
    after = blobs.path(digest).stat()
    assert after.st_ino == before.st_ino
    # Young again: nobody is to collect it before it is named.
    assert after.st_mtime > before.st_mtime
    assert files(tmp_path) == [blobs.path(digest)]


@pytest.mark.parametrize("damage", [b"weig", b"Weights", b""])
def test_a_damaged_blob_is_mended_by_putting_it_again(blobs, damage):
    digest = blobs.put(b"weights")
    blobs.path(digest).write_bytes(damage)
    with pytest.raises(StorageError, match="damaged"):
        blobs.verified(digest)
    blobs.put(b"weights")
    assert blobs.verified(digest).read_bytes() == b"weights"


def test_a_missing_blob_is_named(blobs):
    digest = digest_bytes(b"never stored")
    with pytest.raises(StorageError, match=digest.removeprefix("sha256:")):
        blobs.verified(digest)


def test_the_blob_is_on_the_disk_before_it_has_its_name(blobs, monkeypatch):
    """The order that makes it safe: content synced, renamed, then both folders synced."""
    path, order = blobs.path(digest_bytes(b"weights")), []
    sync = os.fsync

    def record(handle):
        order.append((path.exists(), os.fstat(handle).st_ino))
        sync(handle)

    monkeypatch.setattr(os, "fsync", record)
    blobs.put(b"weights")
    assert [exists for exists, _ in order] == [False, True, True]
    synced = [path, path.parent, path.parent.parent]
    assert [inode for _, inode in order] == [each.stat().st_ino for each in synced]


def test_a_full_disk_is_an_error_and_leaves_nothing(blobs, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        blobs.put(b"weights")
    assert files(tmp_path) == []


def test_a_blob_that_is_removed_while_it_is_put_is_there_all_the_same(blobs, monkeypatch):
    digest = blobs.put(b"weights")
    holds = blobs_module._holds

    def removed(path, digest):
        found = holds(path, digest)
        path.unlink()
        return found

    monkeypatch.setattr(blobs_module, "_holds", removed)
    assert blobs.put(b"weights") == digest
    assert blobs.verified(digest).read_bytes() == b"weights"
