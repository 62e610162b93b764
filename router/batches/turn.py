"""A batch's turn: its requests are answered, until all are or other batches wait for theirs."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from starlette.types import ASGIApp

from registry.batch import Answer, Batch, Problem, Status
from router.batches.answering import FULL, LATE, Answering, unanswered
from router.batches.crew import Crew
from router.batches.entries import Entry, checked, left
from router.batches.hold import HEARD_SECONDS, Hold
from router.batches.results import keep
from router.service import Service

TURN_SECONDS = 30.0
MOST_BYTES = 1 << 30
"""Of answers: the requests that come after them are not answered."""
_AT_ONCE = 1000
ENDS = {Status.CANCELLING: Status.CANCELLED, Status.FINALIZING: Status.COMPLETED}


class Turn:
    """What is done with a batch that was taken."""

    def __init__(self, service: Service, app: ASGIApp, hold: Hold) -> None:
        self._service = service
        self._app = app
        self._hold = hold
        self._answers: list[Answer] = []
        self._told = time.monotonic()
        self._ends = self._told + TURN_SECONDS
        self._is_over = False

    async def run(self) -> None:
        """Go on with it as far as it comes.

        Raises:
            Lost: It is not held here any more.
            StorageError: The registry cannot be read or written.
        """
        if self._batch.status == Status.VALIDATING:
            await self._begin()
        if self._batch.status == Status.IN_PROGRESS and not self._is_late:
            await self._go_on()
        if self._batch.status == Status.IN_PROGRESS and self._is_late:
            await self._give_up(LATE)
            await self._end(Status.EXPIRED)
        elif self._batch.status == Status.IN_PROGRESS and self._is_full:
            await self._give_up(FULL)
            await self._hold.finish()
        if self._batch.status in ENDS:
            await self._end(ENDS[self._batch.status])

    @property
    def _batch(self) -> Batch:
        return self._hold.batch

    @property
    def _is_late(self) -> bool:
        return datetime.now(UTC) >= self._batch.expires

    @property
    def _is_full(self) -> bool:
        return self._batch.nbytes >= MOST_BYTES

    async def _begin(self) -> None:
        """Understand its requests, or end it."""
        total, problems = await self._hold.during(self._service.pools.batches.run(self._checked))
        if problems:
            await self._hold.end(Status.FAILED, problems=problems)
        else:
            await self._hold.begin(total)

    async def _go_on(self) -> None:
        """Have requests answered, until there is none left or the turn is over."""
        crew = Crew()
        async with Answering(self._app, self._batch) as answering, aclosing(self._left()) as rest:
            try:
                while await self._fill(crew, answering, rest):
                    self._answers += await crew.some(HEARD_SECONDS)
                    await self._tell_now_and_then(answering, len(crew))
                    if self._batch.status == Status.CANCELLING:
                        break
            finally:
                await crew.stop()
        await self._tell()
        if not self._is_over:
            await self._hold.finish()

    async def _fill(
        self, crew: Crew, answering: Answering, rest: AsyncGenerator[Entry, None]
    ) -> bool:
        """Begin with as many requests as there is room for; whether any is worked on."""
        while not self._is_over and len(crew) < self._service.background.room:
            following = await anext(rest, None)
            if following is None:
                break
            crew.begin(answering.answer(following))
        return bool(crew)

    async def _tell_now_and_then(self, answering: Answering, underway: int) -> None:
        """Tell, and see whether it goes on: others need not wait for one that has to wait."""
        if time.monotonic() < self._told + HEARD_SECONDS:
            return
        await self._tell()
        is_stuck = 0 < underway == answering.waiting
        enough = is_stuck or time.monotonic() >= self._ends
        waits = self._service.registry.batch_queue.waits
        done = self._is_late or self._is_full
        if done or (enough and await self._service.pools.reading.run(waits)):
            self._is_over = True
            answering.hurry()

    async def _tell(self) -> None:
        await self._hold.tell(self._answers)
        self._answers, self._told = [], time.monotonic()

    async def _left(self) -> AsyncGenerator[Entry, None]:
        """The requests that have no answer."""
        run, queue = self._service.pools.batches.run, self._service.registry.batch_queue
        answered = await run(queue.answered, self._batch)
        file = await run(queue.requests, self._batch)
        entries = left(file, self._batch.endpoint, answered)
        # To parse a large one takes a while, too.
        while (following := await run(next, entries, None)) is not None:
            yield following

    async def _give_up(self, code: str) -> None:
        """Say of what is not answered why it will not be."""
        async with aclosing(self._left()) as rest:
            async for each in rest:
                self._answers.append(unanswered(self._batch, each, code))
                if len(self._answers) >= _AT_ONCE:
                    await self._tell()
        await self._tell()

    async def _end(self, status: Status) -> None:
        work = self._service.pools.batches.run(keep, self._service.registry, self._batch)
        await self._hold.end(status, *await self._hold.during(work))

    def _checked(self) -> tuple[int, list[Problem]]:
        file = self._service.registry.batch_queue.requests(self._batch)
        return checked(file, self._batch.endpoint)
