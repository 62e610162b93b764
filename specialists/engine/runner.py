"""Runs an engine in a thread of its own, and hands its emissions to asyncio."""

import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random

from specialists.engine.backend import Request
from specialists.engine.core import Emission, Row
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.grammar import Grammars
from specialists.engine.loads import LocateAdapter
from specialists.engine.mailbox import Mailbox, coalesced
from specialists.engine.places import Places
from specialists.engine.report import Report
from specialists.engine.streams import Streams
from specialists.engine.text import Tokenizer
from specialists.errors import EngineStopped, Overloaded

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Failed steps in a row after which the engine gives up, so that it is replaced."""
HANGING_SECONDS = 300.0
"""A step that takes longer will not end: the slowest, on the slowest machines, take a few."""


class Runner:
    """An engine at work, see `Backend`."""

    def __init__(
        self, make_engine: Callable[[Callable[[], None]], Engine], *, max_waiting: int
    ) -> None:
        """Build the engine and start its thread.

        Args:
            make_engine: given the function that wakes the thread, returns the engine.
            max_waiting: rows that may wait beyond those that fit a step.
        """
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.engine = make_engine(lambda: self._inbox.put(_nothing))
        self._places = Places(max_waiting)
        self._streams = Streams()
        self._stopping = False
        self._step_began: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @classmethod
    def from_folder(
        cls, folder: Path, locate: LocateAdapter, options: EngineOptions, *, max_waiting: int
    ) -> "Runner":
        """Load a base in transformers' layout and start serving it."""
        return cls(
            lambda wake: Engine.from_folder(folder, locate, options, wake=wake),
            max_waiting=options.max_rows + max_waiting,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The base's."""
        return self.engine.tokenizer

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        return self.engine.context

    @property
    def grammars(self) -> Grammars:
        """Compiles what answers must look like."""
        return self.engine.grammars

    @property
    def alive(self) -> bool:
        """Whether the engine's thread is at work, and not hanging in one step."""
        began = self._step_began
        hangs = began is not None and time.monotonic() - began > HANGING_SECONDS
        return self._thread.is_alive() and not self._stopping and not hangs

    def prefetch(self, digest: str, *, evicts: bool) -> None:
        """Have an adapter loaded that may be wanted soon, see `Loads.hint`."""
        self._inbox.put(partial(self.engine.prefetch, digest, evicts=evicts))

    async def generate(self, request: Request) -> AsyncGenerator[list[tuple[int, Emission]], None]:
        """See `Backend.generate`; what a request holds is freed within a step."""
        self.require_room(request.n, request.tenant)
        request.require_computable(self.context, self.engine.vocabulary)
        mailbox = Mailbox(request.n, whole=request.whole)
        rows = [self._row(request, number, mailbox) for number in range(request.n)]
        try:
            with (
                self._places.taken(request.tenant, request.n),
                self._streams.opened(request.streams),
            ):
                self._tell(rows, self.engine.add)
                # Told after the thread's last look, nobody would ever answer.
                self._require_alive()
                async for emissions in coalesced(mailbox, self._streams.pause):
                    yield emissions
        finally:
            self._tell(rows, self.engine.abort)

    def report(self) -> Report:
        """See `Backend.report`."""
        return self.engine.report()

    def stats(self) -> dict[str, int]:
        """See `Backend.stats`."""
        return self.engine.stats()

    def close(self) -> None:
        """End all requests with an error and stop the thread."""
        self._stopping = True
        self._inbox.put(_nothing)
        self._thread.join()

    def require_room(self, rows: int, tenant: str | None = None) -> None:
        """See `Backend.require_room`."""
        self._require_alive()
        if not self._places.room(tenant, rows):
            raise Overloaded(retry_after=1)

    def _require_alive(self) -> None:
        if not self.alive:
            raise EngineStopped("the engine is shutting down")

    def _row(self, request: Request, number: int, mailbox: Mailbox) -> Row:
        seed, tokenizer = request.params.seed, self.engine.tokenizer
        text = tokenizer.stream(request.params.stop, request.thoughts)
        random = Random(None if seed is None else f"{seed}/{number}")  # noqa: S311 (not for secrets)
        return Row(
            id=f"{request.id}/{number}",
            adapter=request.adapter,
            tokens=list(request.prompt),
            prompt_length=len(request.prompt),
            params=request.params,
            text=text,
            emit=lambda emission: mailbox.put((number, emission)),
            random=random,
            grammar=request.grammar.copy() if request.grammar else None,
            tenant=request.tenant,
            absent=request.absent,
            expected=request.expected.copy() if request.expected else None,
            budget=tokenizer.budget(request.thoughts, text),
        )

    def _tell(self, rows: Iterable[Row], verb: Callable[[Row], None]) -> None:
        for row in rows:
            self._inbox.put(partial(verb, row))

    def _run(self) -> None:
        try:
            self._step_until_stopped()
        finally:
            self._stopping = True
            self._read_inbox(wait=False)
            self.engine.close()

    def _step_until_stopped(self) -> None:
        progressed, failures = False, 0
        while not self._stopping and failures < MAX_FAILURES:
            try:
                self._read_inbox(wait=not progressed)
                self._step_began = time.monotonic()
                progressed = self.engine.step()
                failures = 0 if progressed else failures
            except Exception:
                logger.exception("a step failed; its requests end with an error")
                self.engine.fail_all(EngineStopped("the engine failed while it answered"))
                progressed, failures = False, failures + 1
            finally:
                self._step_began = None

    def _read_inbox(self, *, wait: bool) -> None:
        try:
            self._inbox.get(block=wait)()
            while True:
                self._inbox.get_nowait()()
        except Empty:
            return


def _nothing() -> None:
    """Wakes the thread."""
