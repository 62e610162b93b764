"""Copies of blobs that are elsewhere: room is made, and nothing is lost that is here alone."""

import logging
import os
from collections import namedtuple

import pytest
from patience import until

from registry import copies
from registry.blobs import BlobStore
from registry.copies import SPARE_BYTES, YOUNG_SECONDS, Copies
from registry.errors import StorageError

KIB = 1024
Usage = namedtuple("Usage", "free")


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path)


@pytest.fixture
def digests(store):
    """Twenty blobs of a KiB each, the first ones read longest ago."""
    found = [store.put(bytes([number]) * KIB) for number in range(20)]
    for age, digest in enumerate(found):
        os.utime(store.path(digest), (age, age))
    return found


@pytest.fixture
def disk(monkeypatch):
    """Sets how many bytes of the disk are free."""

    def free(nbytes):
        monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: Usage(nbytes))

    free(2 * SPARE_BYTES)
    return free


def there(store, digests):
    return [number for number, digest in enumerate(digests) if store.has(digest)]


def test_what_was_read_longest_ago_makes_room(store, digests, disk):
    Copies(store, lambda _: True, 32 * KIB).trim()
    assert there(store, digests) == [*range(20)]
    Copies(store, lambda _: True, 16 * KIB).trim()
    assert there(store, digests) == [*range(5, 20)]


def test_a_full_disk_has_less_room(store, digests, disk):
    disk(SPARE_BYTES - 4 * KIB)
    Copies(store, lambda _: True, 32 * KIB).trim()
    assert there(store, digests) == [*range(6, 20)]


def test_what_is_nowhere_else_stays(store, digests, disk):
    Copies(store, lambda digest: digest not in digests[:3], 16 * KIB).trim()
    assert there(store, digests) == [0, 1, 2, *range(8, 20)]


def test_what_was_read_just_now_stays(store, digests, disk):
    for digest in digests[2:]:
        os.utime(store.path(digest))
    Copies(store, lambda _: True, 4 * KIB).trim()
    assert there(store, digests) == [*range(2, 20)]


def test_what_is_read_while_room_is_made_stays(store, digests, disk):
    def read(digest):
        os.utime(store.path(digest))
        return True

    Copies(store, read, 4 * KIB).trim()
    assert there(store, digests) == [*range(20)]


def test_drafts_of_those_who_were_killed_go(store, tmp_path, disk):
    draft = tmp_path / "00" / ".incoming-x"
    draft.parent.mkdir()
    draft.write_bytes(bytes(KIB))
    kept = Copies(store, lambda _: False, KIB // 2)
    kept.trim()
    assert draft.exists()
    os.utime(draft, (0, 0))
    kept.trim()
    assert not draft.exists()


def test_a_store_that_cannot_be_asked_is_logged_and_asked_again_later(store, digests, disk, caplog):
    answers = [StorageError("gone")]

    def is_elsewhere(_):
        if answers:
            raise answers.pop()
        return True

    kept = Copies(store, is_elsewhere, 16 * KIB)
    with caplog.at_level(logging.WARNING):
        kept.added(0)
        until(lambda: "gone" in caplog.text)
    assert there(store, digests) == [*range(20)]
    until(lambda: kept.added(KIB) or len(there(store, digests)) == 15)


def test_few_bytes_are_not_worth_a_look(store, digests, disk):
    kept = Copies(store, lambda _: True, 16 * KIB)
    kept.added(0)
    until(lambda: len(there(store, digests)) == 15)
    until(lambda: not kept._trimming)
    for digest in digests[:5]:
        store.put(bytes([digests.index(digest)]) * KIB)
    kept.added(KIB - 1)
    assert not kept._trimming
    assert there(store, digests) == [*range(20)]


def test_the_age_that_spares_is_long_enough_to_open_a_file():
    assert YOUNG_SECONDS >= 10
