"""A store of files that says nothing keeps few waiting, and one that is slow is waited for."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from patience import until

from registry import remote_files
from registry.errors import StorageError, StoreFailed
from registry.remote_files import PATIENCE_SECONDS, SLOWEST_BYTES, RemoteFiles

LATER = PATIENCE_SECONDS + 1
PARTS = 4
BIG = int(100 * SLOWEST_BYTES)


class Store(AsyncFileSystem):
    """Files of a store elsewhere, which answers when the test lets it."""

    protocol = "hushed"
    cachable = False
    last: "Store"

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []
        self.given_up = self.came = 0
        self.sized = False
        self.failure = None
        self.answers, self.part = threading.Event(), threading.Event()
        Store.last = self

    async def _until(self, event):
        try:
            while not event.is_set():  # noqa: ASYNC110  (another thread sets it)
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    async def _info(self, path, **_):
        self.asked.append(path)
        await self._until(self.answers)
        if self.failure:
            raise self.failure
        return {"name": path, "type": "file", "size": 1, "mtime": 7.0}

    async def _get_file(self, rpath, lpath, callback, **_):
        self.asked.append(rpath)
        if self.failure:
            raise self.failure
        callback.set_size(BIG if rpath.endswith("big") else PARTS)
        self.sized = True
        for _ in range(PARTS):
            await self._until(self.part)
            self.part.clear()
            callback.relative_update(1)
            self.came += 1


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(remote_files, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(remote_files, "_LOOK_SECONDS", 0.001)
    return now


@pytest.fixture
def files(clock):
    fsspec.register_implementation("hushed", Store, clobber=True)
    there = RemoteFiles("hushed://there")
    yield there
    Store.last.answers.set()
    until(lambda: not there.is_away)


@pytest.fixture
def threads():
    with ThreadPoolExecutor() as some:
        yield some


def test_who_asks_a_silent_store_gives_up_and_so_does_the_question(clock, files, threads):
    asked = threads.submit(files.written, "some")
    until(lambda: Store.last.asked)
    assert not asked.done()
    clock[0] += LATER
    with pytest.raises(StoreFailed, match=r"The files' store hushed://there says nothing"):
        asked.result()
    until(lambda: Store.last.given_up == 1)


@pytest.mark.parametrize("failure", [None, PermissionError("no"), FileNotFoundError()])
def test_nobody_is_kept_waiting_until_it_answers_whatever_that_is(clock, files, threads, failure):
    first = threads.submit(files.written, "some")
    until(lambda: Store.last.asked)
    clock[0] += LATER
    assert isinstance(first.exception(), StoreFailed)
    for _ in range(3):
        with pytest.raises(StoreFailed, match="says nothing"):
            files.written("another")
    until(lambda: len(Store.last.asked) == 2)
    assert "another" not in str(Store.last.asked)
    Store.last.failure = failure
    Store.last.answers.set()
    until(lambda: not files.is_away)
    if failure is None:
        assert files.written("another") == 7.0
    else:
        with pytest.raises(StorageError, match=r"PermissionError|is not in"):
            files.get("some", Path("nowhere"))


def test_a_file_that_comes_slowly_is_waited_for_and_so_is_who_waits_behind_it(
    clock, files, threads
):
    comes = threads.submit(files.get, "some", Path("nowhere"))
    waits = threads.submit(files.written, "some")
    until(lambda: len(Store.last.asked) == 2)
    for part in range(PARTS):
        clock[0] += 0.8 * PATIENCE_SECONDS
        Store.last.part.set()
        until(lambda part=part: Store.last.came == part + 1)
    comes.result()
    assert not waits.done()
    clock[0] += LATER
    assert isinstance(waits.exception(), StoreFailed)


def test_a_large_part_is_waited_for_as_long_as_a_slow_store_takes(clock, files, threads):
    comes = threads.submit(files.get, "big", Path("nowhere"))
    until(lambda: Store.last.sized)
    clock[0] += 0.9 * BIG / SLOWEST_BYTES + PATIENCE_SECONDS
    looked = threads.submit(files.written, "some")
    until(lambda: len(Store.last.asked) == 2)
    assert not comes.done()
    clock[0] += 0.2 * BIG / SLOWEST_BYTES
    for each in (comes, looked):
        assert isinstance(each.exception(), StoreFailed)
