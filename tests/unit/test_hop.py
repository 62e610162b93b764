"""Generations go to engines of this machine by a socket, and by Serve to all others."""

import asyncio
import socket
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from patience import HANGS

from deploy import nearby
from deploy.affinity import Affinity
from deploy.call import Call
from deploy.entrance import Entrance
from deploy.errors import EngineLost
from deploy.hop import Hop
from deploy.nearby import ENGINES, Nearby
from router.engine import Delta, Generation, Usage
from router.errors import Overloaded
from specialists.engine.report import Report, marks

DIGEST = "sha256:" + "ab" * 32
GENERATION = Generation("r", DIGEST, "hi")
ITEMS = [Delta(0, "ä", 1), Delta(0, "b", 1, finish_reason="stop"), Usage(1, 2)]
BY_SERVE = [Delta(0, "serve", 1, finish_reason="stop"), Usage(9, 1)]


class Engine:
    """What a replica does with a visit: it sends items, and may wait to be left."""

    def __init__(self, *items, stays=False):
        self.items = items
        self.stays = stays
        self.calls = []
        self.left = asyncio.Event()

    async def __call__(self, pipe):
        self.calls.append(await pipe.receive())
        for item in self.items:
            await pipe.send(item)
        if self.stays:
            assert await pipe.receive() is None
            self.left.set()


class Handle:
    def options(self, **_options):
        return self

    def remote(self, call):
        return Response()


class Response:
    def __init__(self):
        self.items = iter(BY_SERVE)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.items)
        except StopIteration:
            raise StopAsyncIteration from None

    def cancel(self):
        pass


@pytest.fixture
def affinity(monkeypatch):
    """The order of replicas, which reports decide: those that hold the adapter come first."""
    affinity = Affinity()
    monkeypatch.setattr(Affinity, "latest", affinity)
    return affinity


@pytest.fixture
def machine(tmp_path, affinity):
    @asynccontextmanager
    async def opened(*engines, elsewhere=()):
        names = [f"e{at}" for at in range(len(engines))]
        affinity.update(dict.fromkeys([*names, *elsewhere]))
        async with AsyncExitStack() as stack:
            for name, engine in zip(names, engines, strict=True):
                entrance = Entrance(engine, tmp_path / name)
                await entrance.open()
                stack.push_async_callback(entrance.close)
            yield Hop(Handle(), Nearby(ENGINES, tmp_path))

    return opened


def holds(affinity, name, **others):
    affinity.update({name: Report(resident=marks([DIGEST])), **others})


async def answer(hop, call=None):
    return [item async for item in hop.items(call or Call(GENERATION))]


def test_an_engine_of_this_machine_is_asked_by_its_socket(machine, affinity):
    async def scenario():
        engine, call = Engine(*ITEMS), Call(GENERATION, trace={"traceparent": "00-1"})
        async with machine(engine) as hop:
            assert await answer(hop, call) == ITEMS
        assert engine.calls == [call]
        assert (call.replica, call.choices) == ("e0", 1)

    asyncio.run(scenario())


def test_where_an_adapter_was_asked_for_it_counts_as_resident(machine, affinity):
    async def scenario():
        engines = Engine(*ITEMS), Engine(*ITEMS)
        async with machine(*engines) as hop:
            for _ in range(4):
                await answer(hop)
            assert sorted(len(engine.calls) for engine in engines) == [0, 4]
            home = "e0" if engines[0].calls else "e1"
            assert affinity.ranked(DIGEST)[0] == home

    asyncio.run(scenario())


def test_who_was_answered_knows_that_a_load_is_done(machine, affinity):
    """One who asks for one adapter after the other sends each to its own home."""

    async def scenario():
        digests = ["sha256:" + f"{number:02x}" * 32 for number in range(8)]
        async with machine(Engine(*ITEMS), Engine(*ITEMS)) as hop:
            homes = {each: affinity.ranked(each)[0] for each in digests}
            for each in digests:
                call = Call(replace(GENERATION, adapter=each))
                await answer(hop, call)
                assert call.replica == homes[each]
        assert set(homes.values()) == {"e0", "e1"}

    asyncio.run(scenario())


def test_who_is_busy_by_what_went_there_from_here_is_asked_last(machine, affinity):
    async def scenario():
        base, engines = replace(GENERATION, adapter=None), [Engine(*ITEMS[:1], stays=True)] * 2
        async with machine(*engines) as hop:
            affinity.update({name: Report(row=1.0) for name in ("e0", "e1")})
            calls = [Call(base) for _ in range(6)]
            answers = [hop.items(call) for call in calls]
            for each in answers:
                await anext(each)
            assert sorted(call.replica for call in calls) == ["e0"] * 3 + ["e1"] * 3
            for each in answers:
                await each.aclose()

    asyncio.run(scenario())


def test_what_came_to_an_engine_by_serve_counts_too(machine, affinity):
    async def scenario():
        base = replace(GENERATION, adapter=None)
        async with machine(Engine(*ITEMS), Engine(*ITEMS)) as hop:
            reports = {"e0": Report(row=1.0, rows=5, visits=1), "e1": Report(row=1.0, rows=2)}
            affinity.update(reports)
            assert (affinity.visits("e0"), affinity.calls("e0")) == (1, 4)
            assert (affinity.visits("e1"), affinity.calls("gone")) == (0, 0)
            # It tells that nobody else visits it; what came another way it said before.
            calls = [Call(base, tried=frozenset({"e1"})), *(Call(base) for _ in range(3))]
            for call in calls:
                await answer(hop, call)
            assert [call.replica for call in calls] == ["e0", "e1", "e1", "e1"]

    asyncio.run(scenario())


def test_what_tried_in_vain_is_asked_last(machine):
    async def scenario():
        async with machine(Engine(*ITEMS), Engine(*ITEMS)) as hop:
            first = Call(GENERATION)
            await answer(hop, first)
            second = first.elsewhere()
            await answer(hop, second)
            assert {first.replica, second.replica} == {"e0", "e1"}
            assert second.exhausted

    asyncio.run(scenario())


@pytest.mark.parametrize("elsewhere", [("far",), ()])
def test_others_are_asked_by_serve(machine, affinity, elsewhere):
    async def scenario():
        engine = Engine(*ITEMS)
        async with machine(*[engine] * len(elsewhere), elsewhere=elsewhere) as hop:
            holds(affinity, "far", e0=None)
            assert await answer(hop) == BY_SERVE
        assert engine.calls == []

    asyncio.run(scenario())


def test_before_serve_knows_of_replicas_it_is_asked(machine, monkeypatch):
    async def scenario():
        async with machine(Engine(*ITEMS)) as hop:
            monkeypatch.setattr(Affinity, "latest", None)
            assert await answer(hop) == BY_SERVE
            monkeypatch.setattr(Affinity, "latest", Affinity())
            assert await answer(hop) == BY_SERVE

    asyncio.run(scenario())


def test_for_one_that_was_killed_serve_knows_another(machine, affinity, tmp_path):
    async def scenario():
        async with machine() as hop:
            with socket.socket(socket.AF_UNIX) as killed:
                killed.bind(str(tmp_path / "killed"))
            affinity.update({"killed": None})
            call = Call(GENERATION)
            assert await answer(hop, call) == BY_SERVE
            assert call.replica == ""

    asyncio.run(scenario())


def test_one_that_hangs_is_lost_and_asked_last(machine, affinity, tmp_path, monkeypatch):
    monkeypatch.setattr(nearby, "GREETING_SECONDS", 0.05)

    async def scenario():
        engine = Engine(*ITEMS)
        async with machine(engine) as hop:
            with socket.socket(socket.AF_UNIX) as hanging:
                hanging.bind(str(tmp_path / "hanging"))
                hanging.listen()
                holds(affinity, "hanging", e0=None)
                call = Call(replace(GENERATION, adapter=DIGEST))
                with pytest.raises(EngineLost):
                    await answer(hop, call)
                assert (call.replica, call.choices) == ("hanging", 2)
                monkeypatch.setattr(nearby, "GREETING_SECONDS", HANGS)
                assert await answer(hop, Call(call.generation)) == ITEMS
            # It was killed meanwhile, and Serve may know of another that is no more here.
            affinity.update({"hanging": None})
            assert await answer(hop, Call(call.generation)) == BY_SERVE
        assert len(engine.calls) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [Overloaded(7), RuntimeError("the engine failed")])
def test_errors_travel_as_values(machine, error):
    async def scenario():
        async with machine(Engine(ITEMS[0], error)) as hop:
            with pytest.raises(type(error), match=str(error)) as raised:
                await answer(hop)
            assert vars(raised.value) == vars(error)

    asyncio.run(scenario())


@pytest.mark.parametrize("items", [[], ITEMS[:1], ITEMS[:2]])
def test_an_engine_that_ends_before_its_answer_is_lost(machine, items):
    async def scenario():
        async with machine(Engine(*items)) as hop:
            answers = hop.items(Call(GENERATION))
            assert [await anext(answers) for _ in items] == items
            with pytest.raises(EngineLost):
                await anext(answers)

    asyncio.run(scenario())


def test_who_leaves_is_noticed_there(machine):
    async def scenario():
        engine = Engine(ITEMS[0], stays=True)
        async with machine(engine) as hop:
            async with aclosing(hop.items(Call(GENERATION))) as items:
                await anext(items)
            await engine.left.wait()

    asyncio.run(scenario())


def test_nobody_waits_for_an_engine_that_has_said_all(machine):
    async def scenario():
        engine = Engine(*ITEMS, stays=True)
        async with machine(engine) as hop:
            assert await answer(hop) == ITEMS
            await engine.left.wait()

    asyncio.run(scenario())
