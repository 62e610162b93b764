"""Requests of a batch that are worked on at the same time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from registry.batch import Answer


class Crew:
    """Whoever works on them; to be stopped."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Answer | None]] = set()

    def __len__(self) -> int:
        """How many are worked on."""
        return len(self._running)

    def begin(self, work: Coroutine[Any, Any, Answer | None]) -> None:
        """Work on one more."""
        self._running.add(asyncio.create_task(work))

    async def some(self, patience: float) -> list[Answer]:
        """The answers that there are once one has ended, or after so many seconds."""
        first = asyncio.FIRST_COMPLETED
        done, self._running = await asyncio.wait(self._running, timeout=patience, return_when=first)
        return [answer for each in done if (answer := each.result()) is not None]

    async def stop(self) -> None:
        """Give up what is worked on."""
        for each in self._running:
            each.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
