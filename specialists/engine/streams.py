"""When the pieces of an engine's streams leave: all side by side, and no more than are worth it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from specialists.machine import cores

COALESCE_SECONDS = 0.03
"""Emissions of one request that fall closer together than this travel as one."""
MESSAGE_SECONDS = 0.0004
"""Of a core, that a piece costs all processes on its way together."""
MESSAGE_SHARE = 0.05
"""Of all cores, that pieces may take: beyond it more emissions travel as one."""


class Streams:
    """Those that are open. For one event loop."""

    def __init__(self) -> None:
        self._open = 0

    @contextmanager
    def opened(self, count: int) -> Iterator[None]:
        """So many more, while the context is open."""
        self._open += count
        try:
            yield
        finally:
            self._open -= count

    def pause(self) -> float:
        """Seconds until the next pieces leave: apart they would wake everybody on the way more."""
        interval = self.interval
        return interval - time.monotonic() % interval

    @property
    def interval(self) -> float:
        """Seconds between two pieces of one stream."""
        return max(COALESCE_SECONDS, self._open * MESSAGE_SECONDS / (MESSAGE_SHARE * cores()))
