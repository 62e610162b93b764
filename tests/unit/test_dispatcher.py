"""Trainers are started while there are jobs, and whatever happens to one, the next is."""

import asyncio
import threading

from patience import HANGS, comes

from deploy import dispatcher
from deploy.dispatcher import Dispatcher
from registry.errors import StorageError


class Queue:
    """Answers in turn: whether a job waits, or an error."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.most = []
        self.seen = asyncio.Event()

    def waits(self, most):
        self.most.append(most)
        if not self._answers:
            self.loop.call_soon_threadsafe(self.seen.set)
        answer = self._answers.pop(0) if self._answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer


def started(queue, most, monkeypatch, fails=()):
    """The trainers that are started while the queue has answers."""
    monkeypatch.setattr(dispatcher, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(dispatcher, "REST_SECONDS", 0.0)
    holders = []

    async def start(holder):
        holders.append(holder)
        if len(holders) in fails:
            raise RuntimeError("the node is gone")

    async def run():
        queue.loop = asyncio.get_running_loop()
        made = Dispatcher(queue, start, most)
        made.start()
        await queue.seen.wait()
        # What the last answer asked for may still wait for its thread.
        await comes(lambda: not made._trainers)
        made.stop()

    asyncio.run(asyncio.wait_for(run(), HANGS))
    return holders


def test_a_trainer_is_started_whenever_a_job_waits(monkeypatch):
    queue = Queue(False, True, False, True)
    holders = started(queue, 2, monkeypatch)
    assert len(set(holders)) == 2
    assert set(queue.most) == {2}


def test_as_many_train_at_once_as_may(monkeypatch):
    monkeypatch.setattr(dispatcher, "LOOK_SECONDS", 0.0)
    holders, both = [], asyncio.Event()

    async def start(holder):
        holders.append(holder)
        if len(holders) == 2:
            both.set()
        await asyncio.Event().wait()

    async def run():
        made = Dispatcher(Queue(*[True] * 50), start, 2)
        made.start()
        await asyncio.wait_for(both.wait(), 60)
        for _ in range(20):
            await asyncio.sleep(0)
        made.stop()

    asyncio.run(run())
    assert len(holders) == 2


def test_nothing_waits_while_one_is_being_started(monkeypatch):
    monkeypatch.setattr(dispatcher, "LOOK_SECONDS", 0.0)
    begun, goes_on = threading.Event(), threading.Event()

    def start(holder):
        begun.set()
        assert goes_on.wait(HANGS)
        return asyncio.sleep(0)

    async def run():
        made = Dispatcher(Queue(True), start, 1)
        made.start()
        await comes(begun.is_set)
        goes_on.set()
        await comes(lambda: not made._trainers)
        made.stop()

    asyncio.run(run())


def test_what_fails_is_tried_again(monkeypatch):
    queue = Queue(StorageError("gone"), True, StorageError("gone"), True)
    assert len(started(queue, 1, monkeypatch, fails=(1,))) == 2


def test_where_nothing_is_to_be_trained_nobody_looks():
    async def run():
        queue = Queue(True)
        made = Dispatcher(queue, None, 0)
        made.start()
        await asyncio.sleep(0)
        made.stop()
        assert queue.most == []

    asyncio.run(run())
