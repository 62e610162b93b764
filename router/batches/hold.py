"""A batch that is held here, and what the registry is told of it."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from registry.batch import Answer, Batch, Problem, Status
from registry.batch_queue import BatchQueue
from router.pool import Pool

T = TypeVar("T")

HEARD_SECONDS = 1.0
"""From one time that the registry hears of it to the next."""


class Hold:
    """Every method may raise StorageError, and Lost once the batch is not held here any more."""

    def __init__(self, queue: BatchQueue, writing: Pool, batch: Batch, holder: str) -> None:
        """Tell `queue`, in the threads of `writing`, of a batch that `holder` took."""
        self._queue = queue
        self._writing = writing
        self._holder = holder
        self.batch = batch
        """As the registry last knew it."""

    async def begin(self, total: int) -> None:
        """So many requests are understood."""
        begin, batch = self._queue.begin, self.batch
        self.batch = await self._writing.run(begin, batch, self._holder, total)

    async def tell(self, answers: Sequence[Answer] = ()) -> None:
        """Some answers are there, or at least it is worked on."""
        hear, batch = self._queue.hear, self.batch
        self.batch = await self._writing.run(hear, batch, self._holder, answers)

    async def finish(self) -> None:
        """All answers are there."""
        self.batch = await self._writing.run(self._queue.finish, self.batch, self._holder)

    async def end(
        self,
        status: Status,
        output: str | None = None,
        failures: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        """There is nothing more to do."""
        how = status, output, failures, problems
        await self._writing.run(self._queue.end, self.batch, self._holder, *how)

    async def release(self) -> None:
        """Others may go on with it, unless it has ended."""
        await self._writing.run(self._queue.release, self.batch, self._holder)

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what takes long, and be heard of meanwhile."""
        working = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({working}, timeout=HEARD_SECONDS))[0]:
                await self.tell()
            return working.result()
        finally:
            working.cancel()
