"""Which adapters vLLM is told to load and to unload, and who waits for room."""

import asyncio
from collections import defaultdict
from concurrent.futures import Future

import pytest

from registry.files import AdapterFiles
from specialists.engine.lora import Shape
from specialists.engine.pace import Pace
from specialists.engine.slots import SlotPool
from specialists.engine.vllm import adapters as module
from specialists.engine.vllm.adapters import Adapters
from specialists.errors import AdapterUnavailable

EACH = 60
"""Bytes of an adapter: one fits."""


class Vllm:
    """Notes what it is told, and says when it is done only when it is asked to."""

    def __init__(self):
        self.told, self._calls = [], []
        self._heard = defaultdict(asyncio.Event)

    def call(self, message):
        self.told.append(next(iter(message)) + " " + str(message.get("name", "")))
        self._heard[self.told[-1]].set()
        self._calls.append(Future())
        return self._calls[-1]

    async def heard(self, told):
        await self._heard[told].wait()

    def done(self, error=None):
        """The oldest that is not done, is."""
        call = self._calls.pop(0)
        if error:
            call.set_exception(error)
        else:
            call.set_result(None)


@pytest.fixture
def vllm():
    return Vllm()


@pytest.fixture
def adapters(vllm, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "shapes_of", lambda _: [Shape(1, 0, EACH // 4)])
    (tmp_path / "links").mkdir()

    def locate(digest):
        if digest == "nobody":
            raise LookupError(digest)
        return AdapterFiles.in_folder(tmp_path)

    return Adapters(SlotPool(100), tmp_path / "links", locate, vllm.call, Pace())


async def hold(adapters, digest, until=None):
    async with adapters.held(digest) as number:
        if until is not None:
            await until.wait()
        return number


def test_one_makes_room_for_the_next_once_nobody_holds_it(adapters, vllm):
    async def both():
        leave = asyncio.Event()
        first = asyncio.create_task(hold(adapters, "a", leave))
        await vllm.heard("load a")
        vllm.done()
        second = asyncio.create_task(hold(adapters, "b"))
        again = asyncio.create_task(hold(adapters, "a"))
        assert await again == 1
        assert vllm.told == ["load a"]
        leave.set()
        await vllm.heard("load b")
        assert vllm.told == ["load a", "unload ", "load b"]
        vllm.done()
        vllm.done()
        return await first, await second

    assert asyncio.run(both()) == (1, 2)


def test_what_was_loaded_for_somebody_who_left_makes_room(adapters, vllm):
    async def leave_and_wait():
        first = asyncio.create_task(hold(adapters, "a"))
        await vllm.heard("load a")
        second = asyncio.create_task(hold(adapters, "b"))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        vllm.done()
        await vllm.heard("load b")
        vllm.done()
        vllm.done()
        return await second

    assert asyncio.run(leave_and_wait()) == 2


@pytest.mark.parametrize("missing", [True, False])
def test_one_that_cannot_be_loaded_costs_itself_only(adapters, vllm, missing):
    async def fail_and_load():
        name = "nobody" if missing else "a"
        failed = asyncio.create_task(hold(adapters, name))
        if not missing:
            await vllm.heard("load a")
            vllm.done(AdapterUnavailable("rank"))
        with pytest.raises(AdapterUnavailable, match=name):
            await failed
        second = asyncio.create_task(hold(adapters, "b"))
        await vllm.heard("load b")
        vllm.done()
        return await second

    assert asyncio.run(fail_and_load()) > 0


def test_a_hint_takes_room_that_is_free_or_idle_as_it_may(adapters, vllm):
    async def hints():
        adapters.hint("a", evicts=False)
        await vllm.heard("load a")
        vllm.done()
        assert await hold(adapters, "a") == 1
        adapters.hint("b", evicts=False)
        await asyncio.gather(*adapters._loads.values())
        assert vllm.told == ["load a"]
        adapters.hint("c", evicts=True)
        await vllm.heard("load c")
        vllm.done()
        vllm.done()
        assert await hold(adapters, "c") > 1

    asyncio.run(hints())
