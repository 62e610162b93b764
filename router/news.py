"""What the registry is told of answers, a moment after them."""

import asyncio
import logging

from registry.errors import StorageError
from registry.registry import Registry
from router.outcomes import Outcomes
from router.pool import Pool
from router.spending import Spending

logger = logging.getLogger(__name__)

TELL_SECONDS = 1.0


class News:
    """How answers on trial end, and what all take. Call `start` before and `stop` after."""

    def __init__(self, registry: Registry, writing: Pool) -> None:
        """Tell `registry`, in the threads of `writing`."""
        self.outcomes = Outcomes()
        self.spending = Spending()
        self._registry = registry
        self._writing = writing
        self._telling: asyncio.Task[None] | None = None
        self._is_late = False

    def start(self) -> None:
        """Begin to tell."""
        self._telling = asyncio.create_task(self._tell())

    async def stop(self) -> None:
        """Tell the last, and no more."""
        if self._telling is not None:
            self._telling.cancel()
        await self.tell()

    async def tell(self) -> None:
        """Tell what is new."""
        await self._tell_outcomes()
        await self._tell_spending()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                await self.tell()
            except Exception:
                logger.exception("the registry is not told what is new")

    async def _tell_outcomes(self) -> None:
        """What cannot be told is lost: a trial goes by those that come after it."""
        counted = self.outcomes.drain()
        if not counted:
            return
        try:
            verdicts = await self._writing.run(self._registry.trials.note, counted)
        except StorageError as error:
            logger.warning("the outcomes of %d versions are lost: %s", len(counted), error)
            return
        for verdict in verdicts:
            logger.warning("%s", verdict)

    async def _tell_spending(self) -> None:
        """What cannot be told is told later."""
        counted = self.spending.drain()
        if not counted:
            return
        try:
            await self._writing.run(self._registry.ledger.note, counted)
            self._is_late = False
        except StorageError as error:
            self.spending.add(counted)
            if not self._is_late:
                logger.warning("what is used is put down later: %s", error)
            self._is_late = True
