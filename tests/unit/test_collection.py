"""Garbage is collected, and nothing that anybody needs."""

import os
import threading
from datetime import timedelta

import pytest
from cli_world import myriad
from old_release import rewind
from test_registry import blobs, register
from tiny_adapter import BASE, card, config, weights

from registry import archive, collection
from registry.blobs import BlobStore
from registry.collection import Collected, collect
from registry.database import Database
from registry.errors import Conflict, StorageError, UnknownSpecialist
from registry.leases import leased
from registry.reference import parse_reference
from registry.registry import Registry

NONE = timedelta(0)
DAYS = timedelta(days=30)


def test_what_killed_and_failed_writers_left_goes_and_nothing_else(registry, home):
    version, _ = register(registry)
    registry.retire("ada/coach")
    kept = blobs(home)
    draft = kept[0].parent / ".incoming-abc"
    draft.write_bytes(b"half")
    orphan = registry._blobs.path(registry._blobs.put(b"a failed transaction's"))
    assert collect(home) == Collected(0, 0, 0)
    assert collect(home, grace=NONE) == Collected(0, 2, 4 + 22)
    assert not draft.exists()
    assert not orphan.exists()
    assert blobs(home) == kept
    assert registry.files(version.digest) == version.files


def test_a_retired_specialist_is_given_up_and_later_its_files(registry, home):
    version, _ = register(registry)
    other, _ = register(registry, "bob/other", seed=1)
    registry.retire("ada/coach")
    assert collect(home, DAYS).specialists == 0
    registry.restore("ada/coach")
    registry.retire("ada/coach")
    assert collect(home, NONE) == Collected(1, 0, 0)
    assert registry.files(version.digest) == version.files
    with pytest.raises(Conflict, match="removed since"):
        registry.restore("ada/coach")
    for blob in blobs(home):
        os.utime(blob, (0, 0))
    assert collect(home, NONE).files == 0
    # Its manifest goes and its weights; the config is the other one's too.
    assert collect(home, NONE, NONE).files == 2
    with pytest.raises(StorageError, match="Cannot read"):
        registry.files(version.digest)
    assert registry.files(other.digest) == other.files
    assert list(archive.problems(home)) == []
    assert [entry.action for entry in archive.audit_log(home, 1)] == ["specialist.purged"]


def test_what_was_given_up_is_registered_again(registry, home):
    first, _ = register(registry)
    second, _ = register(registry, seed=1)
    registry.retire("ada/coach")
    collect(home, NONE, NONE)
    assert register(registry, seed=1) == (second, False)
    assert registry.files(second.digest) == second.files
    with pytest.raises(UnknownSpecialist):
        registry.resolve(parse_reference("ada/coach:latest"))
    third, created = register(registry, seed=2)
    assert (third.number, created) == (3, True)
    with pytest.raises(UnknownSpecialist):
        registry.resolve(parse_reference(f"ada/coach@{first.number}"))
    assert [head.number for head in registry.versions("ada/coach")] == [2, 3]


@pytest.mark.parametrize("which", ["all", "its own"])
def test_what_is_leased_stays(registry, home, which):
    version, _ = register(registry)
    registry.retire("ada/coach")
    digest = None if which == "all" else version.digest
    with leased(registry._database, "a test", digest):
        assert collect(home, NONE, NONE) == Collected(1, 0, 0)
        registry.files(version.digest)
    assert collect(home, NONE, NONE).files == 3


def test_a_backup_is_whole_while_garbage_is_collected(registry, home, tmp_path):
    register(registry)
    registry.retire("ada/coach")
    found = archive.backup(
        home, tmp_path / "b.tar", lambda done, _: collect(home, NONE, NONE) if not done else None
    )
    assert found.blobs == 2


def test_registrations_and_collections_at_once_lose_nothing(registry, home):
    stop = threading.Event()

    def work():
        while not stop.is_set():
            collect(home, NONE, NONE)

    collector = threading.Thread(target=work)
    collector.start()
    try:
        for number in range(30):
            version, _ = register(registry, seed=number % 3, description=f"number {number}")
            registry.files(version.digest)
            if number % 4 == 3:
                registry.retire("ada/coach")
    finally:
        stop.set()
        collector.join()
    assert list(archive.problems(home)) == []


def test_who_registers_waits_for_few_files_to_be_removed(registry, home, monkeypatch):
    version, _ = register(registry)
    for number in range(3):
        (version.files.weights.parent / f".incoming-{number}").touch()
    writes = []
    write = Database.write
    monkeypatch.setattr(Database, "write", lambda it: writes.append(it) or write(it))
    assert collect(home, grace=NONE).files == 3
    assert len(writes) == 2
    for number in range(3):
        (version.files.weights.parent / f".incoming-{number}").touch()
    monkeypatch.setattr(collection, "HELD_SECONDS", 0.0)
    assert collect(home, grace=NONE).files == 3
    assert len(writes) == 2 + 1 + 3
    assert registry.files(version.digest) == version.files


@pytest.mark.sqlite
def test_files_of_an_older_release_are_kept(home):
    registry = Registry.open(home, BASE)
    registry.register(card(), config(), weights())
    registry.close()
    rewind(home, "0012")
    assert collect(home, NONE, NONE) == Collected(0, 0, 0)


@pytest.mark.sqlite
def test_the_command(registry, home, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(home))
    register(registry)
    registry.retire("ada/coach")
    said = "0 specialists given up, 0 files removed (0.0 MB)\n"
    assert myriad("registry", "gc").out.endswith(said)
    assert "1 specialists given up" in myriad("registry", "gc", "--days", "0").out


@pytest.mark.sqlite
def test_there_must_be_a_registry(tmp_path):
    with pytest.raises(StorageError, match="no registry"):
        collect(tmp_path)


def test_a_draft_that_is_collected_while_it_is_written_is_written_again(tmp_path, monkeypatch):
    store, collected = BlobStore(tmp_path), []
    sync = os.fsync

    def collecting(handle):
        if not collected:
            collected.extend(tmp_path.glob("*/.incoming-*"))
            collected[0].unlink()
        sync(handle)

    monkeypatch.setattr("registry.blobs.os.fsync", collecting)
    digest = store.put(b"weights")
    assert store.path(digest).read_bytes() == b"weights"
    assert collected
