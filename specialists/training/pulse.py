"""A trainer's pulse: once a second the registry hears of its job, from a thread of its own."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import Any

from registry.errors import Lost, StorageError
from registry.job import Job, Kind, Level, Status
from registry.queue import Queue

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0

News = tuple[Level, Kind, str, Mapping[str, Any]]


class Pulse:
    """What is told of a job, and whether it is still ours."""

    def __init__(self, queue: Queue, job: Job, holder: str) -> None:
        self._queue = queue
        self._job = job
        self._holder = holder
        self._lock = Lock()
        self._news: list[News] = []
        self._expected: datetime | None = None
        self._status = Status.VALIDATING
        self._ended = Event()
        self.lost = Event()
        """Set when the job is not ours any more."""

    def tell(self, message: str, level: Level = "info") -> None:
        """Add a message to the job's events."""
        with self._lock:
            self._news.append((level, "message", message, {}))

    def measure(self, message: str, figures: Mapping[str, Any], seconds_left: float) -> None:
        """Add figures to the job's events, and say how long the rest may take."""
        with self._lock:
            self._news.append(("info", "metrics", message, figures))
            later = datetime.now(UTC) + timedelta(seconds=seconds_left)
            self._expected = later.replace(tzinfo=None)

    def is_running(self) -> None:
        """Say that the training itself has begun."""
        self._status = Status.RUNNING

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

    def _hear(self) -> None:
        if self.lost.is_set():
            return
        with self._lock:
            news, self._news = self._news, []
        try:
            self._queue.hear(self._job, self._holder, self._status, self._expected, news)
        except Lost:
            self.lost.set()
        except StorageError as error:
            # A moment's failure costs nothing; after a longer one another trainer goes on.
            logger.warning("the registry does not hear of %s: %s", self._job.id, error)
            with self._lock:
                self._news = news + self._news
