"""How long to wait for something that may take long, as long as it moves."""

import time
from collections.abc import Callable


class Patience:
    """Ends when something has stayed the same for some seconds, however long it takes in all."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: str | None = None
        self._since = clock()

    def is_over(self, state: str) -> bool:
        """Whether `state` has been the same for too long."""
        if state != self._seen:
            self._seen, self._since = state, self._clock()
        return self._clock() - self._since > self._seconds
