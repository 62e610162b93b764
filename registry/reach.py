"""Whether a database's server answers, as a process knows it: a silent one keeps few waiting."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 40.0
"""For so long a server may say nothing; writers wait for each other for up to 30."""
HURRY_SECONDS = 3.0
"""The same of one that is looked at, or that said nothing to somebody else."""
AWAY_SECONDS = 20.0
"""For so long one that said nothing is asked nothing but whether it is back."""


class Reach:
    """What one thread finds out about a server, all go by."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._thread = threading.local()

    @property
    def is_away(self) -> bool:
        """Whether the server said nothing to somebody lately."""
        return time.monotonic() < self._away_until

    @property
    def patience(self) -> float:
        """Seconds that the calling thread waits for the server to say something."""
        hurries = self._does("looking") or (self.is_away and not self._does("writing"))
        return HURRY_SECONDS if hurries else PATIENCE_SECONDS

    def lost(self) -> None:
        """Nothing came from the server."""
        self._away_until = time.monotonic() + AWAY_SECONDS

    def demand(self) -> None:
        """Go on unless the server is away, and the calling thread does more than look.

        Raises:
            TimeoutError: it is away.
        """
        if self.is_away and not self._does("looking"):
            raise TimeoutError("its server says nothing")

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Ask also where the server is thought away; an answer means that it is back."""
        with self._doing("looking"):
            yield
        self._away_until = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for other writers, and for what was begun to be done."""
        with self._doing("writing"):
            yield

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        before = getattr(self._thread, "does", None)
        self._thread.does = what
        try:
            yield
        finally:
            self._thread.does = before

    def _does(self, what: str) -> bool:
        return getattr(self._thread, "does", None) == what
