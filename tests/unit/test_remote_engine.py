"""The hop to the engine replicas: lost ones, full ones, and clients that leave."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException

import deploy.broadcast
from deploy.affinity import Affinity
from deploy.remote_engine import (
    ENGINE_LOST,
    LATER,
    MAX_LOSSES,
    NO_ENGINE,
    SAVED_RETRIES,
    RemoteEngine,
)
from router.engine import CallDelta, Delta, Generation, Reading, Usage, joined
from router.errors import ContextOverflow, DeadlinePassed, Overloaded, RouterError, Unavailable
from specialists.engine.report import Report, marks

GENERATION = Generation("r", None, "hi")
WHOLE = replace(GENERATION, whole=True)
ITEMS = [Delta(0, "a", 1), Delta(0, "b", 1, finish_reason="stop"), Usage(1, 2)]


class Response:
    """What a stream gives, in the end perhaps an error; remembers whether it was cancelled."""

    def __init__(self, items):
        self.items = iter(items)
        self.cancelled = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        item = next(self.items, None)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception) and not isinstance(item, RouterError):
            raise item
        return item

    def cancel(self):
        self.cancelled = True


HANGS = object()


class Answers:
    """What replicas give to a broadcast, errors and nothing at all among it."""

    def __init__(self, answers):
        self.answers = answers

    async def _fetch_replica_results_async(self):
        return [SimpleNamespace(get_async=partial(self.given, each)) for each in self.answers]

    async def given(self, answer):
        if answer is HANGS:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Handle:
    """A deployment handle that plays one script per call, each at a replica of its own."""

    def __init__(self, *scripts, answers=(), choices=3):
        self.scripts = list(scripts)
        self.answers = answers
        self.choices = choices
        self.responses = []
        self.tried = []
        self.told = []

    def options(self, method_name, stream=False):
        return self if stream else SimpleNamespace(remote=self._prefetch)

    def remote(self, call):
        assert call.generation in (GENERATION, WHOLE)
        self.tried.append(set(call.tried))
        call.replica, call.choices = f"r{len(self.responses)}", self.choices
        self.responses.append(Response(self.scripts.pop(0)))
        return self.responses[-1]

    async def _prefetch(self, *hint):
        self.told.append(hint)
        if isinstance(self.answers, Exception):
            raise self.answers

    def broadcast(self, method):
        if isinstance(self.answers, Exception):
            raise self.answers
        return Answers(self.answers)


def remote(handle, **limits):
    return RemoteEngine(handle, **{"places": 1000, "replicas": 1, "deadline": 600.0} | limits)


def answer(handle, generation=GENERATION, **limits):
    async def collect():
        return [item async for item in remote(handle, **limits).generate(generation)]

    return asyncio.run(collect())


def test_what_the_replica_gives_is_passed_on():
    handle = Handle(ITEMS)
    assert answer(handle) == ITEMS
    assert handle.responses[0].cancelled


def test_while_nothing_was_answered_a_lost_replica_costs_nobody_anything():
    handle = Handle(*[[RayActorError()]] * MAX_LOSSES, ITEMS)
    assert answer(handle) == ITEMS
    assert handle.tried[:3] == [set(), {"r0"}, {"r0", "r1"}]


def test_an_answer_that_is_read_whole_has_not_begun_before_it_is_complete():
    handle = Handle([ITEMS[0], RayActorError()], [*ITEMS[:2], RayActorError()], ITEMS)
    assert answer(handle, WHOLE) == [Delta(0, "ab", 2, finish_reason="stop"), ITEMS[2]]
    assert all(each.cancelled for each in handle.responses)


@pytest.mark.parametrize("generation", [GENERATION, WHOLE])
def test_a_replica_that_is_lost_after_the_last_item_has_answered(generation):
    *deltas, usage = answer(Handle([*ITEMS, RayActorError()]), generation)
    assert joined(deltas) == [Delta(0, "ab", 2, finish_reason="stop")]
    assert usage == ITEMS[2]


def test_how_a_prompt_was_read_comes_with_it():
    items = [Delta(0, "a", 0, read=Reading((5,), ("a",), 8)), Usage(1, 0)]
    assert answer(Handle(items), WHOLE) == items


def test_an_answer_that_is_read_whole_comes_as_one_delta_for_each_continuation():
    items = [
        Delta(1, "x", 1, (b"1",)),
        Delta(0, "a", 2, (b"2", b"3")),
        Delta(1, "y", 1, (b"4",), "length", (CallDelta(0, "{}", "f"),)),
        Delta(0, "b", 1, finish_reason="stop"),
        Usage(1, 5),
    ]
    assert answer(Handle(items), WHOLE) == [
        Delta(1, "xy", 2, (b"1", b"4"), "length", (CallDelta(0, "{}", "f"),)),
        Delta(0, "ab", 3, (b"2", b"3"), "stop"),
        Usage(1, 5),
    ]


def test_replicas_that_were_lost_long_after_are_not_the_requests_doing(monkeypatch):
    now = iter(range(0, 10**6, 5))
    monkeypatch.setattr("deploy.remote_engine.time.monotonic", lambda: next(now))
    assert answer(Handle(*[[RayActorError()]] * 5 * MAX_LOSSES, ITEMS)) == ITEMS


@pytest.mark.parametrize("refusal", [Overloaded(), Unavailable()])
def test_what_one_replica_refuses_another_may_answer(refusal):
    handle = Handle([refusal], ITEMS)
    assert answer(handle) == ITEMS
    assert handle.tried == [set(), {"r0"}]


@pytest.mark.parametrize(("choices", "asked"), [(1, 1), (2, 2), (3, 3)])
def test_what_every_replica_refuses_is_refused(choices, asked):
    handle = Handle(*[[Overloaded()]] * 9, choices=choices)
    with pytest.raises(Overloaded):
        answer(handle)
    assert len(handle.responses) == asked


def test_refusals_do_not_double_the_work():
    async def refused(engine):
        with pytest.raises(Overloaded):
            await anext(engine.generate(GENERATION))

    async def all_refused():
        for _ in range(400):
            await refused(engine)

    handle = Handle(*[[Overloaded()]] * 1000)
    engine = remote(handle)
    asyncio.run(all_refused())
    again = len(handle.responses) - 400
    assert again == pytest.approx(SAVED_RETRIES + 40, abs=2)


def test_what_has_no_place_is_refused_without_a_hop():
    async def three(handle):
        engine = remote(handle, places=2)
        async with aclosing(engine.generate(GENERATION)) as first:
            await anext(first)
            async with aclosing(engine.generate(GENERATION)) as second:
                await anext(second)
                with pytest.raises(Overloaded):
                    await anext(engine.generate(GENERATION))
            return [item async for item in engine.generate(GENERATION)]

    handle = Handle(ITEMS, ITEMS, ITEMS, choices=1)
    assert asyncio.run(three(handle)) == ITEMS
    assert len(handle.responses) == 3


def test_what_is_not_asked_for_yet_has_its_place():
    engine = remote(Handle(ITEMS), places=2)
    with engine.place("ada"), engine.place("ada"):
        with pytest.raises(Overloaded), engine.place("ada"):
            pass
        with engine.place("bob"):  # less than an even share is let in all the same
            pass
    with pytest.raises(ZeroDivisionError), engine.place("ada"):
        _ = 1 / 0
    with engine.place("ada", 2):
        pass


def test_more_replicas_have_more_places():
    async def after(choices, handle):
        engine = remote(handle, places=1)
        assert [item async for item in engine.generate(GENERATION)] == ITEMS
        async with aclosing(engine.generate(GENERATION)) as first:
            await anext(first)
            return [item async for item in engine.generate(GENERATION)]

    assert asyncio.run(after(2, Handle(ITEMS, ITEMS, ITEMS, choices=2))) == ITEMS
    with pytest.raises(Overloaded):
        asyncio.run(after(1, Handle(ITEMS, ITEMS, ITEMS, choices=1)))


class Stuck(Response):
    """Gives its items, and then nothing for ever."""

    async def __anext__(self):
        return await super().__anext__() if self.pieces else await asyncio.Event().wait()

    @property
    def pieces(self):
        return self.items.__length_hint__()


class Slow(Handle):
    """A replica that does not get on, or that is not even there."""

    def __init__(self, items, replica="r0"):
        super().__init__()
        self.items, self.replica = items, replica

    def remote(self, call):
        call.replica = self.replica
        self.responses.append(Stuck(self.items))
        return self.responses[-1]


@pytest.mark.parametrize("items", [[], ITEMS[:1]])
def test_an_answer_that_is_not_complete_in_time_is_given_up(items, monkeypatch):
    monkeypatch.setattr("deploy.remote_engine.NO_ENGINE_SECONDS", 0.01)
    handle = Slow(items)
    with pytest.raises(DeadlinePassed, match=r"0\.05 s"):
        answer(handle, deadline=0.05)
    assert handle.responses[0].cancelled


def test_who_waits_for_an_engine_that_never_comes_is_told_so(monkeypatch):
    monkeypatch.setattr("deploy.remote_engine.NO_ENGINE_SECONDS", 0.01)
    handle = Slow([], replica="")
    with pytest.raises(Unavailable, match=NO_ENGINE) as refusal:
        answer(handle)
    assert refusal.value.retry_after == LATER
    assert len(handle.responses) == 1
    assert handle.responses[0].cancelled


def test_a_hint_goes_where_the_request_would_go():
    handle = Handle()
    asyncio.run(remote(handle).prefetch(["sha256:a", "sha256:b"], evicts=True))
    assert handle.told == [("sha256:a", True), ("sha256:b", True)]
    asyncio.run(remote(Handle(answers=RayActorError())).prefetch(["x"], evicts=False))


@pytest.mark.parametrize(
    "scripts", [[[RayActorError()]] * (MAX_LOSSES + 1), [[ITEMS[0], RayActorError()]]]
)
def test_replicas_lost_too_often_or_in_the_middle_are_an_error(scripts):
    with pytest.raises(Unavailable, match=ENGINE_LOST):
        answer(Handle(*scripts))


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (BackPressureError(1, 1), Overloaded),
        (RayServeException("x"), Unavailable),
        (ContextOverflow(9, 8), ContextOverflow),
    ],
)
def test_refusals_are_the_routers(error, becomes):
    handle = Handle([error], choices=1)
    with pytest.raises(becomes):
        answer(handle)
    assert handle.responses[0].cancelled


def test_a_client_that_leaves_cancels_the_work_at_once():
    handle = Handle(ITEMS)

    async def leave():
        async with aclosing(remote(handle).generate(GENERATION)) as items:
            await anext(items)
        return handle.responses[0].cancelled

    assert asyncio.run(leave())


@pytest.fixture
def _in_time(monkeypatch):
    monkeypatch.setattr(deploy.broadcast, "SECONDS", 0.01)


@pytest.mark.usefixtures("_in_time")
def test_figures_are_those_of_all_replicas_that_answer():
    said = [("b", {"running": 2, "pages": 10}), ("a", {"running": 1})]
    two = Handle(answers=[HANGS, *said, RayActorError()])
    found = asyncio.run(remote(two).stats())
    assert found == {"a": {"running": 1}, "b": {"running": 2, "pages": 10}}
    assert list(found) == ["a", "b"]
    assert asyncio.run(remote(Handle(answers=RayServeException("x"))).stats()) == {}


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ([None], True),
        ([RayActorError(), None], True),
        ([HANGS, None], True),
        ([RayActorError()], False),
        ([HANGS], False),
        ([], False),
        (RayServeException("x"), False),
    ],
)
@pytest.mark.usefixtures("_in_time")
def test_it_is_ready_while_any_replica_can_answer(answers, ready):
    assert asyncio.run(remote(Handle(answers=answers)).ready()) == ready


def test_what_is_in_memory_is_told_by_what_replicas_reported(monkeypatch):
    engine, digest = remote(Handle()), "sha256:" + "ab" * 32
    monkeypatch.setattr(Affinity, "latest", None)
    assert not engine.resident(digest)
    affinity = Affinity()
    monkeypatch.setattr(Affinity, "latest", affinity)
    assert not engine.resident(digest)
    affinity.update({"r0": Report(resident=marks([digest])), "r1": None})
    assert engine.resident(digest)
    affinity.update({"r0": Report(), "r1": None})
    assert not engine.resident(digest)
