"""What piles up in memory moves to disk, and a start goes on from there."""

import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from hashed import HashedWords
from patience import HANGS
from served import FRENCH, WEATHER, open_registry, register

from registry.view import Visibility
from router.routing import shelf
from router.routing.follower import Follower
from router.routing.policy import Policy
from router.routing.shelf import due


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Three routes are a pack."""
    monkeypatch.setattr(shelf, "FULL", 3)


@pytest.fixture
def registry(tmp_path):
    opened = open_registry(tmp_path)
    yield opened
    opened.close()


@contextmanager
def following(registry, cache, encoder=None):
    follower = Follower(registry, encoder or HashedWords(), cache=cache)
    try:
        follower.refresh()
        yield follower
    finally:
        follower.stop()


def fill(registry, count, start=0):
    for number in range(start, start + count):
        texts = [f"number {number} counts", f"what is {number}"]
        register(registry, f"ada/n{number}", number, examples=texts)


def two_packs(registry, follower):
    """Six specialists, each three of them moved to disk together."""
    for start in (0, 3):
        fill(registry, 3, start)
        follower.refresh()
        follower.tidy()


def settle(follower):
    """Tidy until nothing is left to do."""
    waiting = threading.Event()
    for _ in range(int(HANGS / 0.02)):
        if not follower.is_tidying:
            return
        follower.tidy()
        waiting.wait(0.02)
    raise AssertionError("the packs were not put together")


def names(follower):
    return [route.specialist for route in follower.snapshot.routes]


def sizes(follower):
    return [int(np.count_nonzero(pack.alive)) for pack in follower.snapshot.kept]


def decided(follower, text):
    return Policy().decide(follower.snapshot, follower._encoder, [text]).candidates


def test_a_full_memory_moves_to_disk_and_nothing_else_changes(registry, tmp_path):
    fill(registry, 3)
    register(registry, "ada/french", 8, examples=FRENCH)
    with following(registry, tmp_path / "cache") as follower:
        before, decision = names(follower), decided(follower, FRENCH[0])
        follower.tidy()
        assert sizes(follower) == [4]
        assert not follower.snapshot.recent.routes
        assert names(follower) == before
        assert decided(follower, FRENCH[0]) == decision
        register(registry, "ada/weather", 9, examples=WEATHER)
        registry.retire("ada/french")
        registry.show_to("ada/n0", Visibility.PUBLIC)
        follower.refresh()
        assert names(follower) == ["ada/n0", "ada/n1", "ada/n2", "ada/weather"]
        assert follower.snapshot.find("ada/n0").visibility == Visibility.PUBLIC
        assert sizes(follower) == [2]


def test_a_start_reads_packs_and_what_changed_since_and_nothing_else(
    registry, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    fill(registry, 5)
    with following(registry, cache) as follower:
        follower.tidy()
    registry.retire("ada/n1")
    register(registry, "ada/late", 77, examples=["quite late"])

    def never(*_):
        raise AssertionError("all specialists are read")

    monkeypatch.setattr(registry, "live", never)
    encoder = HashedWords()
    with following(registry, cache, encoder) as follower:
        assert names(follower) == ["ada/late", "ada/n0", "ada/n2", "ada/n3", "ada/n4"]
        assert encoder.encoded == ["quite late", *registry.card(
            follower.snapshot.find("ada/late").digest).routed_by[1:]]  # fmt: skip
        assert follower.snapshot.generation == registry.generation()


def test_packs_are_put_together_in_a_process_apart(registry, tmp_path):
    with following(registry, tmp_path / "cache") as follower:
        for start in range(0, 12, 3):
            fill(registry, 3, start)
            follower.refresh()
            follower.tidy()
            registry.retire(f"ada/n{start}")
            follower.refresh()
        settle(follower)
        assert sizes(follower) == [8]
        assert len(names(follower)) == 8
        [folder] = [each for each in follower._shelf._folder.iterdir() if each.is_dir()]
        assert folder == follower.snapshot.kept[0].folder
    with following(registry, tmp_path / "cache") as follower:
        assert len(names(follower)) == 8


def test_what_changes_while_packs_are_put_together_is_not_lost(registry, tmp_path):
    with following(registry, tmp_path / "cache") as follower:
        two_packs(registry, follower)
        follower.tidy()
        assert follower._shelf._merging is not None
        registry.retire("ada/n0")
        register(registry, "ada/n1", 99, examples=["something else"])
        fill(registry, 1, 6)
        follower.refresh()
        settle(follower)
        assert names(follower) == [f"ada/n{number}" for number in range(1, 7)]
        assert follower.snapshot.find("ada/n1").version == 2
        settle(follower)


def test_of_two_replicas_one_writes_and_the_other_reads_it(registry, tmp_path):
    cache = tmp_path / "cache"
    with following(registry, cache) as first, following(registry, cache) as second:
        fill(registry, 4)
        for each in (first, second):
            each.refresh()
        first.tidy()
        second.tidy()
        assert sizes(first) == sizes(second) == [4]
        assert [p.folder for p in first.snapshot.kept] == [p.folder for p in second.snapshot.kept]
        before = second.snapshot
        fill(registry, 4, 4)
        second.refresh()
        second.tidy()
        assert second.snapshot.recent.routes
        first.refresh()
        settle(first)
        # Its packs may be gone from the disk, but not from under it.
        assert len(before.routes) == 4
        second.tidy()
        assert sizes(second) == [8]
        first.stop()
        fill(registry, 4, 8)
        second.refresh()
        settle(second)
        assert sizes(second) == [12]


def test_a_list_that_is_replaced_while_it_is_read_is_read_again(registry, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    fill(registry, 4)
    with following(registry, cache) as follower:
        follower.tidy()
        folder = follower.snapshot.kept[0].folder
        read, listed = follower._shelf._read_list, follower._shelf._read_list()
        older = [listed | {"packs": [{"name": "gone", "gone": []}]}]
        monkeypatch.setattr(follower._shelf, "_read_list", lambda: older.pop() if older else read())
        assert [pack.folder for pack in follower._shelf.read().packs] == [folder]


def test_a_full_disk_is_told_once_in_a_while_and_stops_no_routing(registry, tmp_path, monkeypatch):
    with following(registry, tmp_path / "cache") as follower:
        tried = []

        def full(*_):
            tried.append(True)
            raise OSError("no space is left")

        monkeypatch.setattr(shelf.packing, "write", full)
        fill(registry, 4)
        for _ in range(3):
            follower.refresh()
            follower._tidy_in_time()
        assert len(tried) == 1
        assert len(names(follower)) == 4


def test_another_registry_is_read_anew(registry, tmp_path):
    cache = tmp_path / "cache"
    fill(registry, 3)
    with following(registry, cache) as follower:
        follower.tidy()
    (tmp_path / "other").mkdir()
    other = open_registry(tmp_path / "other")
    fill(other, 4, 20)
    with following(other, cache) as follower:
        assert names(follower) == [f"ada/n{number}" for number in range(20, 24)]
    other.close()


@pytest.mark.parametrize("damage", ["list", "pack", "folder"])
def test_what_is_damaged_is_read_anew(registry, tmp_path, damage, caplog):
    cache = tmp_path / "cache"
    fill(registry, 3)
    with following(registry, cache) as follower:
        follower.tidy()
        folder = follower.snapshot.kept[0].folder
    if damage == "list":
        (folder.parent / "packs.json").write_text("{}")
    elif damage == "pack":
        (folder / "values.npy").write_bytes(b"")
    else:
        folder.rename(tmp_path / "away")
    with following(registry, cache) as follower:
        assert len(names(follower)) == 3
        assert "reading all specialists" in caplog.text
        follower.tidy()
        assert sizes(follower) == [3]


def test_a_first_start_holds_only_so_many_routes_in_memory(registry, tmp_path, monkeypatch):
    monkeypatch.setattr("router.routing.follower.AT_FIRST", 4)
    fill(registry, 10)
    encoder = HashedWords()
    with following(registry, tmp_path / "cache") as follower:
        assert sizes(follower) == [4, 4, 2]
        assert follower.snapshot.recent.routes == []
    with following(registry, tmp_path / "cache", encoder) as follower:
        assert sizes(follower) == [4, 4, 2]
        assert len(names(follower)) == 10
    assert encoder.encoded == []


def test_the_skipped_are_remembered(registry, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    fill(registry, 4)
    card = registry.card

    def unreadable(digest):
        found = card(digest)
        if found.id == "ada/n1":
            raise ValueError("odd")
        return found

    monkeypatch.setattr(registry, "card", unreadable)
    with following(registry, cache) as follower:
        follower.tidy()
        assert follower.skipped == {"ada/n1": "odd"}
    with following(registry, cache) as follower:
        assert follower.skipped == {"ada/n1": "odd"}


def test_packs_that_cannot_be_put_together_are_left_as_they_are(
    registry, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(shelf.packing, "__name__", "no.such.module")
    with following(registry, tmp_path / "cache") as follower:
        two_packs(registry, follower)
        follower.tidy()
        follower._shelf._merging._process.wait()
        follower.tidy()
        assert "could not be put together" in caplog.text
        follower.tidy()
        assert follower._shelf._merging is None
        assert len(names(follower)) == 6


def test_a_replica_that_ends_lets_another_write(registry, tmp_path):
    cache = tmp_path / "cache"
    fill(registry, 3)
    with following(registry, cache) as follower:
        follower.tidy()
        lock = follower._shelf._folder / "lock"
        script = (
            "import fcntl, sys; f = open(sys.argv[1], 'ab'); "
            "fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
        )
        ask = [sys.executable, "-c", script, str(lock)]
        assert subprocess.run(ask, stderr=subprocess.DEVNULL).returncode != 0
    assert subprocess.run(ask).returncode == 0


def test_without_a_cache_everything_stays_in_memory(registry):
    fill(registry, 4)
    with following(registry, None) as follower:
        follower.tidy()
        assert not follower.snapshot.kept
        assert len(names(follower)) == 4


def test_a_due_pack_is_not_much_larger_than_all_newer_ones():
    class Sized:
        lacks_a_graph = False

        def __init__(self, size):
            self.alive = np.ones(size, bool)

    def found(*each):
        return [len(pack.alive) for pack in due([Sized(size) for size in each])]

    assert found() == found(9) == found(900, 9) == found(80, 10) == []
    assert found(79, 10) == [10, 79]
    assert found(900, 40, 10, 10) == [10, 10, 40]
    assert found(300, 40, 10) == [10, 40, 300]
