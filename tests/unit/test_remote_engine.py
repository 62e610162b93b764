"""The hop to the engine replicas: lost ones, full ones, and clients that leave."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException

from deploy.remote_engine import ENGINE_LOST, MAX_LOSSES, SAVED_RETRIES, RemoteEngine
from router.engine import Delta, Generation, Usage
from router.errors import ContextOverflow, Overloaded, RouterError, Unavailable

GENERATION = Generation("r", None, "hi")
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


class Answers:
    def __init__(self, answers):
        self.answers = answers

    async def results_async(self, return_exceptions):
        assert return_exceptions
        return self.answers


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
        assert call.generation is GENERATION
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


def answer(handle):
    async def collect():
        return [item async for item in RemoteEngine(handle).generate(GENERATION)]

    return asyncio.run(collect())


def test_what_the_replica_gives_is_passed_on():
    handle = Handle(ITEMS)
    assert answer(handle) == ITEMS
    assert handle.responses[0].cancelled


def test_while_nothing_was_answered_a_lost_replica_costs_nobody_anything():
    handle = Handle(*[[RayActorError()]] * MAX_LOSSES, ITEMS)
    assert answer(handle) == ITEMS
    assert handle.tried[:3] == [set(), {"r0"}, {"r0", "r1"}]


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
    engine = RemoteEngine(handle)
    asyncio.run(all_refused())
    again = len(handle.responses) - 400
    assert again == pytest.approx(SAVED_RETRIES + 40, abs=2)


def test_a_hint_goes_where_the_request_would_go():
    handle = Handle()
    asyncio.run(RemoteEngine(handle).prefetch(["sha256:a", "sha256:b"], evicts=True))
    assert handle.told == [("sha256:a", True), ("sha256:b", True)]
    asyncio.run(RemoteEngine(Handle(answers=RayActorError())).prefetch(["x"], evicts=False))


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
        async with aclosing(RemoteEngine(handle).generate(GENERATION)) as items:
            await anext(items)
        return handle.responses[0].cancelled

    assert asyncio.run(leave())


def test_figures_are_those_of_all_replicas_that_answer():
    two = Handle(
        answers=[{"running": 2, "pages": 10}, {"running": 1, "pages": 10}, RayActorError()]
    )
    assert asyncio.run(RemoteEngine(two).stats()) == {"running": 3, "pages": 20, "replicas": 2}
    assert asyncio.run(RemoteEngine(Handle(answers=RayServeException("x"))).stats()) == {
        "replicas": 0
    }


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ([None], True),
        ([RayActorError(), None], True),
        ([RayActorError()], False),
        ([], False),
        (RayServeException("x"), False),
    ],
)
def test_it_is_ready_while_any_replica_can_answer(answers, ready):
    assert asyncio.run(RemoteEngine(Handle(answers=answers)).ready()) == ready
