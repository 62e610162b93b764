"""A trainer's pulse: once a second the registry hears of its job, from a thread of its own."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import Any

from registry.errors import Lost, StorageError
from registry.job import Job, Kind, Level, Status
from registry.queue import Queue
from specialists.errors import TrainingStopped

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
TOLD_SECONDS = 10.0
"""From one word on how far something is to the next."""
TURN_SECONDS = 900.0
"""For so long a job is trained before one of another owner's that waits has its turn."""

News = tuple[Level, Kind, str, Mapping[str, Any]]


class Pulse:
    """What is told of a job, and whether it is still ours."""

    def __init__(self, queue: Queue, job: Job, holder: str, most: int = 1) -> None:
        """Tell of a job.

        Args:
            queue: that is told.
            job: whose pulse it is.
            holder: the trainer's name.
            most: jobs that may be under way at once.
        """
        self._queue = queue
        self._job = job
        self._holder = holder
        self._most = most
        self._began = self._since = self._told = time.monotonic()
        self._doing = ""
        self._lock = Lock()
        self._news: list[News] = []
        self._expected: datetime | None = None
        self._status = Status.VALIDATING
        self._ended = Event()
        self.lost = Event()
        """Set when the job is not ours any more."""
        self.waited_for = Event()
        """Set when it had its turn, and others wait."""

    def ends(self) -> bool:
        """Whether the job is to be let go of, at a checkpoint."""
        return self.lost.is_set() or self.waited_for.is_set()

    def tell(self, message: str, level: Level = "info") -> None:
        """Add a message to the job's events."""
        with self._lock:
            self._news.append((level, "message", message, {}))

    def measure(self, message: str, figures: Mapping[str, Any], seconds_left: float) -> None:
        """Add figures to the job's events, and say how long the rest may take."""
        with self._lock:
            self._news.append(("info", "metrics", message, figures))
            self._expect(seconds_left)

    def go_on(self, doing: str, done: int, of: int) -> None:
        """Tell now and then how far something is.

        Raises:
            TrainingStopped: the job is not ours any more.
        """
        if self.lost.is_set():
            raise TrainingStopped(f"{doing} was stopped after {done} of {of}")
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since = doing, now
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            self.tell(f"{doing} {done}/{of}")
            self._expect((now - self._since) / max(done, 1) * (of - done), at_least=True)

    def require(self) -> None:
        """Go on only if the job is still ours at this moment.

        Raises:
            TrainingStopped: it is not.
        """
        self._hear()
        if self.lost.is_set():
            raise TrainingStopped("the job is not ours any more")

    def is_running(self) -> None:
        """Say that the training itself has begun."""
        self._status = Status.RUNNING

    def _expect(self, seconds_left: float, *, at_least: bool = False) -> None:
        """When the job may be done; a part of it alone says no more than how long it takes."""
        then = (datetime.now(UTC) + timedelta(seconds=seconds_left)).replace(tzinfo=None)
        known = self._expected if at_least else None
        self._expected = then if known is None else max(known, then)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Have the registry hear of the job while the context is open, and of its last news."""
        thread = Thread(target=self._beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._hear()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._hear()
            self._look()

    def _look(self) -> None:
        """Whether somebody else has waited for long enough."""
        if self.waited_for.is_set() or time.monotonic() - self._began < TURN_SECONDS:
            return
        with suppress(StorageError):
            if self._queue.is_others_turn(self._job, self._most):
                self.tell("Others wait: the training goes on when they have had their turn.")
                self.waited_for.set()

    def _hear(self) -> None:
        with self._lock:
            news, self._news = self._news, []
        # What was told while it came out that a job is paused belongs to its events too.
        if self.lost.is_set() and not news:
            return
        try:
            self._queue.hear(self._job, self._holder, self._status, self._expected, news)
        except Lost:
            self.lost.set()
        except StorageError as error:
            # A moment's failure costs nothing; after a longer one another trainer goes on.
            logger.warning("the registry does not hear of %s: %s", self._job.id, error)
            with self._lock:
                self._news = news + self._news
