"""Emissions on their way from a thread into the event loop that waits for them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from specialists.engine.core import Emission


class Mailbox:
    """Carries a request's emissions from any thread into the event loop that made it."""

    def __init__(self, rows: int, *, whole: bool) -> None:
        """Of so many rows; with `whole` nobody is woken before all have ended."""
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[int, Emission]] = deque()
        self._filled, self._ended = asyncio.Event(), asyncio.Event()
        self._rows = rows
        self._whole = whole
        self._awaited = False

    @property
    def open(self) -> bool:
        """Whether there is, or will be, something to take."""
        return bool(self._rows or self._items)

    def put(self, item: tuple[int, Emission]) -> None:
        """Add a row's emission."""
        self._items.append(item)
        self._rows -= item[1].finish is not None
        ended = not self._rows or item[1].error is not None
        if ended or (self._awaited and not self._whole):
            # A loop that is closed, perhaps just now, has no reader left.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake, ended)

    async def pause(self, seconds: float) -> None:
        """Let emissions gather, until the last one is here."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def take(self) -> list[tuple[int, Emission]]:
        """All that came since the last time, once there is something."""
        # Said before it is looked: of what comes after the look somebody is told.
        self._awaited = True
        if self._whole or not self._items:
            await self._filled.wait()
        self._awaited = False
        self._filled.clear()
        return [self._items.popleft() for _ in range(len(self._items))]

    def _wake(self, ended: bool) -> None:
        self._filled.set()
        if ended:
            self._ended.set()


async def coalesced(
    mailbox: Mailbox, pause: Callable[[], float]
) -> AsyncIterator[list[tuple[int, Emission]]]:
    """Emissions of all rows until each has ended, with a pause of so many seconds after each list.

    Raises:
        EngineError: what a row failed by.
    """
    while mailbox.open:
        emissions = await mailbox.take()
        for _, emission in emissions:
            if emission.error is not None:
                raise emission.error
        if emissions:
            yield emissions
        if mailbox.open:
            await mailbox.pause(pause())
