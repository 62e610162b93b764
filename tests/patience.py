"""How long a test waits for what must come: only a hang ends it, never a slow machine."""

import asyncio
import time
from collections.abc import Callable

HANGS = 3600.0


def until(holds: Callable[[], object], every: float = 0.2) -> None:
    """Look again and again until something holds: often at first, then once in so many seconds."""
    deadline, pause = time.monotonic() + HANGS, 0.001
    while not holds():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(pause)
        pause = min(2 * pause, every)


async def comes(holds: Callable[[], object], every: float = 0.001) -> None:
    """The same, while others in the event loop go on."""
    deadline = time.monotonic() + HANGS
    while not holds():
        assert time.monotonic() < deadline, "it hangs"
        await asyncio.sleep(every)
