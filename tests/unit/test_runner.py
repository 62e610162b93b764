"""The engine's thread: streams into asyncio, refusals, aborts, ends."""

import asyncio
import dataclasses
import threading
from types import SimpleNamespace

import pytest
from engines import SMALL
from patience import HANGS
from tiny import tiny_base

from specialists.engine.backend import Request
from specialists.engine.core import Emission, SamplingParams
from specialists.engine.mailbox import Mailbox
from specialists.engine.runner import MAX_FAILURES, Runner
from specialists.errors import ContextOverflow, EngineStopped, InvalidPrompt, Overloaded


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def runner(base):
    made = Runner.from_folder(base.folder, lambda digest: {}[digest], SMALL, max_waiting=4)
    yield made
    made.close()
    made.engine.check_integrity()


def request(n=1, prompt=(5, 6, 7), **params):
    settings = {"max_tokens": 20, "temperature": 0.0} | params
    return Request("test", None, list(prompt), n, SamplingParams(**settings))


async def collect(runner, wanted):
    rows = {}
    async for emissions in runner.generate(wanted):
        for row, emission in emissions:
            rows.setdefault(row, []).append(emission)
    return rows


async def at_rest(runner):
    """Wait for the engine's thread, which has no event to tell that it has nothing left to do."""
    while runner.engine.stats()["running"] or runner.engine.stats()["waiting"]:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_n_rows_each_come_to_an_end(runner):
    rows = asyncio.run(collect(runner, request(n=3, temperature=1.5, seed=3)))
    assert sorted(rows) == [0, 1, 2]
    assert all(emissions[-1].finish is not None for emissions in rows.values())
    assert len({tuple(each.choice.token for each in row) for row in rows.values()}) == 3


def test_a_seed_repeats_the_answer(runner):
    seeded = request(n=2, temperature=1.5, seed=11)
    first, second = (asyncio.run(collect(runner, seeded)) for _ in range(2))
    assert first == second


def test_what_is_wanted_whole_comes_at_once(runner):
    async def lists(wanted):
        return [emissions async for emissions in runner.generate(wanted)]

    streamed = asyncio.run(collect(runner, request(n=2, temperature=1.5, seed=11)))
    whole = dataclasses.replace(request(n=2, temperature=1.5, seed=11), whole=True)
    (all_at_once,) = asyncio.run(lists(whole))
    rows = {}
    for row, emission in all_at_once:
        rows.setdefault(row, []).append(emission)
    assert rows == streamed


def test_what_fails_whole_fails_at_once(runner, monkeypatch):
    monkeypatch.setattr(runner.engine._network, "forward", None)
    with pytest.raises(EngineStopped):
        asyncio.run(collect(runner, dataclasses.replace(request(n=2), whole=True)))


def test_the_last_list_waits_for_no_pause(runner, monkeypatch):
    monkeypatch.setattr(runner._streams, "pause", lambda: HANGS)

    async def lists():
        return [emissions async for emissions in runner.generate(request())]

    first, rest = asyncio.run(asyncio.wait_for(lists(), HANGS / 2))
    assert len(first) + len(rest) == 20


def test_nobody_is_woken_who_does_not_wait():
    written = (0, Emission(None, "a"))

    async def taken():
        mailbox, woken = Mailbox(1, whole=False), []
        mailbox._loop = SimpleNamespace(call_soon_threadsafe=lambda *told: woken.append(told))
        mailbox.put(written)
        mailbox.put(written)
        assert await mailbox.take() == [written, written]
        assert woken == []
        waiting = asyncio.create_task(mailbox.take())
        await asyncio.sleep(0)
        mailbox.put(written)
        [(wake, *told)] = woken
        wake(*told)
        return await waiting

    assert asyncio.run(taken()) == [written]


def test_requests_in_parallel_do_not_mix(runner):
    async def both():
        return await asyncio.gather(
            collect(runner, request(prompt=[9, 9, 9])), collect(runner, request(prompt=[5, 6]))
        )

    alone = [asyncio.run(collect(runner, request(prompt=p))) for p in ([9, 9, 9], [5, 6])]
    assert asyncio.run(both()) == alone


def test_a_prompt_over_the_context_is_refused_with_both_numbers(runner):
    with pytest.raises(ContextOverflow) as refusal:
        asyncio.run(collect(runner, request(prompt=[5] * 300)))
    assert (refusal.value.prompt_tokens, refusal.value.limit) == (300, 256)


def test_too_many_rows_are_refused_and_room_comes_back(runner):
    with pytest.raises(Overloaded):
        asyncio.run(collect(runner, request(n=37)))
    assert asyncio.run(collect(runner, request(n=36, max_tokens=2)))


def test_closing_the_iterator_frees_the_rows(runner):
    async def leave():
        stream = runner.generate(request(n=2, max_tokens=200))
        await anext(stream)
        await stream.aclose()
        await at_rest(runner)

    asyncio.run(leave())
    stats = runner.engine.stats()
    assert stats["pages_free"] == stats["pages"]


def test_a_failed_step_ends_its_requests_and_the_engine_lives_on(runner, monkeypatch):
    forward = runner.engine._network.forward

    def broken(*_):
        monkeypatch.setattr(runner.engine._network, "forward", forward)
        raise RuntimeError("a bug")

    monkeypatch.setattr(runner.engine._network, "forward", broken)
    with pytest.raises(EngineStopped):
        asyncio.run(collect(runner, request()))
    assert asyncio.run(collect(runner, request()))


def test_a_closed_runner_refuses(base):
    made = Runner.from_folder(base.folder, lambda digest: {}[digest], SMALL, max_waiting=4)

    async def close_while_answering():
        stream = made.generate(request(max_tokens=200))
        await anext(stream)
        await asyncio.to_thread(made.close)
        with pytest.raises(EngineStopped):
            async for _ in stream:
                pass

    asyncio.run(close_while_answering())
    assert not made.alive
    with pytest.raises(EngineStopped):
        asyncio.run(collect(made, request()))


@pytest.mark.parametrize("prompt", [[], [10**6], [-1]])
def test_a_prompt_that_cannot_be_computed_is_refused(runner, prompt):
    with pytest.raises(InvalidPrompt):
        asyncio.run(collect(runner, request(prompt=prompt)))
    assert asyncio.run(collect(runner, request()))


def test_an_engine_that_fails_again_and_again_gives_up(runner, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(runner.engine._network, "forward", broken)
    for _ in range(MAX_FAILURES):
        with pytest.raises(EngineStopped):
            asyncio.run(collect(runner, request()))
    runner._thread.join(HANGS)
    assert not runner.alive


def test_negative_seeds_are_seeds_of_their_own(runner):
    rows = asyncio.run(collect(runner, request(n=3, seed=-1, temperature=1.5)))
    assert len({tuple(each.choice.token for each in row) for row in rows.values()}) == 3


def test_a_step_that_hangs_is_no_health(runner, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    forward = runner.engine._network.forward

    def hang(*arguments):
        began.set()
        assert go_on.wait(HANGS)
        return forward(*arguments)

    monkeypatch.setattr(runner.engine._network, "forward", hang)

    async def watch():
        answer = asyncio.create_task(collect(runner, request()))
        await asyncio.to_thread(began.wait, HANGS)
        assert runner.alive
        monkeypatch.setattr("specialists.engine.runner.HANGING_SECONDS", -1.0)
        assert not runner.alive
        monkeypatch.undo()
        go_on.set()
        return await answer

    assert asyncio.run(watch())
    assert runner.alive


def test_what_is_told_to_the_thread_cannot_end_it(runner):
    def fail():
        raise RuntimeError("a bug")

    runner._inbox.put(fail)
    assert asyncio.run(collect(runner, request()))
    assert runner.alive
