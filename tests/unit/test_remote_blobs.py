"""Blobs at a URL: what is put there is there, what is read from there is what was put."""

import os
from contextlib import closing
from datetime import timedelta

import pytest
from patience import until
from tiny_adapter import BASE, card, config, weights

from registry import archive, copies
from registry.blobs import BlobStore
from registry.collection import collect
from registry.digests import digest_bytes
from registry.errors import StorageError, StoreFailed
from registry.location import Location
from registry.registry import Registry
from registry.remote_blobs import RemoteBlobStore
from registry.remote_files import RemoteFiles

NONE = timedelta(0)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/far"


def machine(url, folder):
    folder.mkdir(exist_ok=True)
    return RemoteBlobStore(url, BlobStore(folder))


def test_what_one_machine_puts_another_reads(url, tmp_path):
    one, other = machine(url, tmp_path / "one"), machine(url, tmp_path / "other")
    digest = one.put(b"weights")
    assert digest == digest_bytes(b"weights")
    assert other.has(digest)
    assert not other.path(digest).exists()
    assert other.verified(digest).read_bytes() == b"weights"
    assert other.verified(digest) == other.path(digest)


def test_what_is_damaged_here_is_fetched_again_and_what_is_damaged_there_is_refused(url, tmp_path):
    store = machine(url, tmp_path / "one")
    digest = store.put(b"weights")
    store.path(digest).write_bytes(b"other")
    assert store.verified(digest).read_bytes() == b"weights"
    [far] = [file for file in (tmp_path / "far").rglob("*") if file.is_file()]
    far.write_bytes(b"other")
    store.path(digest).unlink()
    with pytest.raises(StorageError, match=r"Cannot read|damaged"):
        store.verified(digest)
    os.utime(far, (0, 0))
    assert store.put(b"weights") == digest
    assert far.read_bytes() == b"weights"
    assert [file.name for file in (tmp_path / "one").rglob("*") if file.is_file()] == [far.name]


def test_what_is_not_there_is_named_and_so_is_a_store_that_fails(url, tmp_path):
    with pytest.raises(StorageError, match="is not in the files' store"):
        machine(url, tmp_path / "one").verified(digest_bytes(b"never"))
    for bad in ("nothing://x", "s4://bucket"):
        with pytest.raises(StorageError, match="files' store"):
            machine(bad, tmp_path / "one")


def test_a_registry_keeps_its_files_there(url, tmp_path):
    location = Location(tmp_path / "home", files=url)
    registry = Registry.open(location, BASE)
    version, _ = registry.register(card(), config(), weights())
    assert registry.files(version.digest) == version.files
    version.files.weights.unlink()
    assert registry.files(version.digest) == version.files
    assert list(archive.problems(location)) == []
    archive.backup(location, tmp_path / "b.tar")
    archive.restore(tmp_path / "b.tar", Location(tmp_path / "new", files=f"{url}2"))
    registry._blobs.put(b"an orphan")
    registry.retire("ada/coach")
    assert collect(location, timedelta(days=1)).files == 0
    assert collect(location, timedelta(days=1), NONE).files == 1
    assert collect(location, NONE, NONE).files == 3
    assert not [file for file in (tmp_path / "far").rglob("*") if file.is_file()]
    registry.close()
    new = Registry.open(Location(tmp_path / "new", files=f"{url}2"), BASE)
    assert new.files(version.digest).weights.read_bytes() == weights()
    new.close()


def test_files_that_cannot_be_asked_for_are_not_said_to_be_wrong(url, tmp_path, monkeypatch):
    location = Location(tmp_path / "home", files=url)
    with closing(Registry.open(location, BASE)) as registry:
        version, _ = registry.register(card(), config(), weights())
        version.files.weights.write_bytes(b"damaged")

    def away(self, key, file):
        raise StoreFailed("The files' store says nothing.")

    monkeypatch.setattr(RemoteFiles, "get", away)
    with pytest.raises(StoreFailed, match="says nothing"):
        list(archive.problems(location))


def test_a_machine_that_reads_ever_more_keeps_what_it_read_last(url, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "YOUNG_SECONDS", 0.0)
    far, here = machine(url, tmp_path / "far"), tmp_path / "here"
    digests = [far.put(bytes([number]) * 1000) for number in range(40)]
    here.mkdir()
    store = RemoteBlobStore(url, BlobStore(here), 16_000)
    for read, digest in enumerate(digests):
        assert store.verified(digest).stat().st_size == 1000
        # In the order of their reading, however coarse the file system's clock is.
        os.utime(store.path(digest), (read, read))
    until(lambda: kept(here) <= 16_000)
    assert kept(here) >= 14_000
    assert store.path(digests[-1]).exists()
    assert not store.path(digests[0]).exists()
    assert store.verified(digests[0]).read_bytes() == bytes(1000)


def kept(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
