"""The hop to the engine replicas: lost ones, full ones, and clients that leave."""

import asyncio
from contextlib import aclosing

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException

from deploy.remote_engine import ENGINE_LOST, RemoteEngine
from router.engine import Delta, Generation, Usage
from router.errors import ContextOverflow, Overloaded, Unavailable

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
        if isinstance(item, Exception) and not isinstance(item, ContextOverflow):
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
    """A deployment handle that plays one script per call."""

    def __init__(self, *scripts, answers=()):
        self.scripts = list(scripts)
        self.answers = answers
        self.responses = []

    def options(self, **options):
        assert options == {"stream": True, "method_name": "generate"}
        return self

    def remote(self, generation):
        assert generation is GENERATION
        self.responses.append(Response(self.scripts.pop(0)))
        return self.responses[-1]

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


def test_a_replica_lost_before_the_first_item_is_tried_once_more():
    handle = Handle([RayActorError()], ITEMS)
    assert answer(handle) == ITEMS
    assert len(handle.responses) == 2


@pytest.mark.parametrize(
    "scripts", [[[RayActorError()], [RayActorError()]], [[ITEMS[0], RayActorError()]]]
)
def test_a_replica_lost_twice_or_in_the_middle_is_an_error(scripts):
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
    handle = Handle([error])
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
