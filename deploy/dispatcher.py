"""Starts trainers while there are jobs: between jobs none takes any memory."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import uuid4

from registry.errors import StorageError
from registry.queue import Queue
from router.pool import Pool

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
REST_SECONDS = 10.0
"""After a trainer was lost: what failed at once would fail again at once."""

Start = Callable[[str], Awaitable[None]]
"""Starts a trainer of a given name; done when the trainer is."""


class Dispatcher:
    """One per router; the queue lets no more jobs be trained at once than the settings say."""

    def __init__(self, queue: Queue, start: Start, most: int) -> None:
        self._queue = queue
        self._start = start
        self._most = most
        self._reading = Pool("queue", 1)
        self._starting = Pool("trainers", 1)
        self._looking: asyncio.Task[None] | None = None
        self._trainers: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to look for jobs."""
        if self._most:
            self._looking = asyncio.create_task(self._look())

    def stop(self) -> None:
        """Look no more; a trainer that runs ends with the process that started it."""
        for task in (self._looking, *self._trainers):
            if task is not None:
                task.cancel()
        self._reading.close()
        self._starting.close()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if len(self._trainers) < self._most and await self._waits():
                trainer = asyncio.create_task(self._train())
                self._trainers.add(trainer)
                trainer.add_done_callback(self._trainers.discard)

    async def _waits(self) -> bool:
        try:
            return await self._reading.run(self._queue.waits, self._most)
        except StorageError as error:
            logger.warning("the queue of jobs cannot be read: %s", error)
            return False

    async def _train(self) -> None:
        try:
            # In a thread: Ray waits for the cluster's state, for as long as that is away.
            trainer = await self._starting.run(self._start, f"trainer-{uuid4().hex[:12]}")
            await trainer
        except Exception as error:
            logger.warning("a trainer was lost: %r", error)
            await asyncio.sleep(REST_SECONDS)
