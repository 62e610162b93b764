"""What is done in the background: how much of it at once, and when there is something to do."""

import asyncio
import time
from contextlib import suppress

BESIDE = 1
"""Requests that are worked on at once beside those that people wait for."""
QUIET_SECONDS = 5.0
"""For so long after somebody's request others are thought to come."""


class Background:
    """Makes way for those who wait for answers. For one event loop."""

    def __init__(self, alone: int) -> None:
        """Nobody is there at first.

        Args:
            alone: requests that are worked on at once while nobody waits for others.
        """
        self._alone = alone
        self._asked = float("-inf")
        self._called = asyncio.Event()

    def asked(self) -> None:
        """Somebody waits for an answer."""
        self._asked = time.monotonic()

    @property
    def room(self) -> int:
        """How many requests may be worked on at once."""
        quiet = time.monotonic() - self._asked > QUIET_SECONDS
        return self._alone if quiet else BESIDE

    def call(self) -> None:
        """There is something to do."""
        self._called.set()

    async def called(self, patience: float) -> None:
        """Wait until there is something to do, or so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._called.wait()
        self._called.clear()
