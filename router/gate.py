"""A bound on how much of one kind goes on at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import Overloaded

RETRY_SECONDS = 5.0


class Gate:
    """Lets `room` in at once, and refuses the others at once. For one event loop."""

    def __init__(self, room: int) -> None:
        self._room = room

    @contextmanager
    def entered(self, what: str) -> Iterator[None]:
        """Be inside while the context is open.

        Raises:
            Overloaded: as many as may be are inside already; `what` is how they are called.
        """
        if not self._room:
            raise Overloaded(RETRY_SECONDS, f"Too many {what} at the moment; try again shortly.")
        self._room -= 1
        try:
            yield
        finally:
            self._room += 1
