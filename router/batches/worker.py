"""Whoever answers batches, in the background of a router."""

import asyncio
import logging
from uuid import uuid4

from starlette.types import ASGIApp

from registry.batch import Batch
from registry.errors import Lost, StorageError
from router.batches.hold import Hold
from router.batches.turn import Turn
from router.service import Service

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""From one look for batches that others asked for, or gave up, to the next."""


class BatchWorker:
    """Takes one batch at a time. Call `start` before and `stop` after."""

    def __init__(self, service: Service, app: ASGIApp) -> None:
        """Answer the batches of `service` by `app`, its application."""
        self._service = service
        self._queue = service.registry.batch_queue
        self._app = app
        self._holder = f"router-{uuid4().hex}"
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for batches."""
        self._working = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Let go of what is worked on: others go on with it, or a later start."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                while (batch := await self._taken()) is not None:
                    await self._go_on(batch)
            except StorageError as error:
                logger.warning("batches wait: %s", error)
            except Exception:
                logger.exception("a batch cannot be gone on with")
            await self._service.background.called(LOOK_SECONDS)

    async def _taken(self) -> Batch | None:
        pools = self._service.pools
        if not await pools.reading.run(self._queue.waits):
            return None
        return await pools.writing.run(self._queue.take, self._holder)

    async def _go_on(self, batch: Batch) -> None:
        hold = Hold(self._queue, self._service.pools.writing, batch, self._holder)
        try:
            await Turn(self._service, self._app, hold).run()
        except Lost as error:
            logger.info("%s is left: %s", batch.id, error)
        finally:
            await hold.release()
