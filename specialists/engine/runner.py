"""Runs an engine in a thread of its own, and hands its emissions to asyncio."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random

from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.grammar import Grammar
from specialists.engine.loads import LocateAdapter
from specialists.engine.places import Places
from specialists.errors import (
    ContextOverflow,
    EngineStopped,
    InvalidPrompt,
    InvalidSampling,
    Overloaded,
)
from specialists.hardware import cores

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Failed steps in a row after which the engine gives up, so that it is replaced."""
HANGING_SECONDS = 300.0
"""A step that takes longer will not end: the slowest, on the slowest machines, take a few."""
COALESCE_SECONDS = 0.03
"""Emissions of one request that fall closer together than this travel as one."""
MESSAGE_SECONDS = 0.004
"""Of a core, that a message costs all processes on its way together."""
MESSAGE_SHARE = 0.2
"""Of all cores, that messages may take: beyond it more emissions travel as one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks of the engine.

    Attributes:
        id: unique; for logs.
        adapter: digest of the version that answers; None is the bare base.
        prompt: its tokens.
        n: answers wanted.
        params: how tokens are chosen; each row draws its own random numbers from the seed.
        grammar: what each answer must look like, at its beginning; None leaves them free.
        whole: whether nothing is wanted before all answers are complete.
        tenant: whose request it is; nobody else shares what is computed for it.
    """

    id: str
    adapter: str | None
    prompt: list[int]
    n: int
    params: SamplingParams
    grammar: Grammar | None = None
    whole: bool = False
    tenant: str | None = None


class Runner:
    """An engine at work: `generate` may be called from any event loop."""

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
        self._streaming = 0
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
    def alive(self) -> bool:
        """Whether the engine's thread is at work, and not hanging in one step."""
        began = self._step_began
        hangs = began is not None and time.monotonic() - began > HANGING_SECONDS
        return self._thread.is_alive() and not self._stopping and not hangs

    def prefetch(self, digest: str, *, evicts: bool) -> None:
        """Have an adapter loaded that may be wanted soon, see `Loads.hint`."""
        self._inbox.put(partial(self.engine.prefetch, digest, evicts=evicts))

    async def generate(self, request: Request) -> AsyncGenerator[list[tuple[int, Emission]], None]:
        """Answer a request: lists of (the row's number, emission), the first and the last at once.

        Closing the iterator frees all that the request holds within a step.

        Raises:
            InvalidPrompt: the prompt is empty, or has tokens that the base does not know.
            InvalidSampling: a parameter asks for what the base cannot give.
            ContextOverflow: the prompt leaves no room for an answer.
            Overloaded: too many requests are waiting.
            EngineStopped: the engine is shutting down, or failed.
            AdapterUnavailable: the adapter could not be loaded.
        """
        self._check(request)
        mailbox = _Mailbox(request.n, whole=request.whole)
        rows = [self._row(request, number, mailbox) for number in range(request.n)]
        streaming = 0 if request.whole else request.n
        self._streaming += streaming
        try:
            with self._places.taken(request.tenant, request.n):
                self._tell(rows, self.engine.add)
                # Told after the thread's last look, nobody would ever answer.
                self._require_alive()
                async for emissions in _coalesced(mailbox, self._pause):
                    yield emissions
        finally:
            self._streaming -= streaming
            self._tell(rows, self.engine.abort)

    def _pause(self) -> float:
        """Seconds between two lists of one request."""
        return max(COALESCE_SECONDS, self._streaming * MESSAGE_SECONDS / (MESSAGE_SHARE * cores()))

    def close(self) -> None:
        """End all requests with an error and stop the thread."""
        self._stopping = True
        self._inbox.put(_nothing)
        self._thread.join()

    def require_room(self, rows: int, tenant: str | None = None) -> None:
        """Refuse early, before any work is done for a request.

        Raises:
            EngineStopped: the engine is shutting down, or has failed.
            Overloaded: too many requests are waiting.
        """
        self._require_alive()
        if not self._places.room(tenant, rows):
            raise Overloaded(retry_after=1)

    def _require_alive(self) -> None:
        if not self.alive:
            raise EngineStopped("the engine is shutting down")

    def _check(self, request: Request) -> None:
        self.require_room(request.n, request.tenant)
        if not request.prompt:
            raise InvalidPrompt("the prompt is empty")
        if len(request.prompt) >= self.engine.context:
            raise ContextOverflow(len(request.prompt), self.engine.context)
        if not all(0 <= token < self.engine.vocabulary for token in request.prompt):
            raise InvalidPrompt(f"token ids must be below {self.engine.vocabulary}")
        if any(token >= self.engine.vocabulary for token, _ in request.params.logit_bias):
            raise InvalidSampling(f"token ids must be below {self.engine.vocabulary}", "logit_bias")

    def _row(self, request: Request, number: int, mailbox: "_Mailbox") -> Row:
        seed = request.params.seed
        random = Random(None if seed is None else f"{seed}/{number}")  # noqa: S311 (not for secrets)
        return Row(
            id=f"{request.id}/{number}",
            adapter=request.adapter,
            tokens=list(request.prompt),
            prompt_length=len(request.prompt),
            params=request.params,
            text=self.engine.tokenizer.stream(request.params.stop),
            emit=lambda emission: mailbox.put((number, emission)),
            random=random,
            grammar=request.grammar.copy() if request.grammar else None,
            tenant=request.tenant,
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


class _Mailbox:
    """Carries a request's emissions from the engine's thread into the event loop that made it."""

    def __init__(self, rows: int, *, whole: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[tuple[int, Emission]] = deque()
        self._filled, self._ended = asyncio.Event(), asyncio.Event()
        self._rows = rows
        self._whole = whole

    @property
    def open(self) -> bool:
        """Whether there is, or will be, something to take."""
        return bool(self._rows or self._items)

    def put(self, item: tuple[int, Emission]) -> None:
        self._items.append(item)
        self._rows -= item[1].finish is not None
        ended = not self._rows or item[1].error is not None
        if ended or not self._whole:
            # A loop that is closed, perhaps just now, has no reader left.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake, ended)

    def _wake(self, ended: bool) -> None:
        self._filled.set()
        if ended:
            self._ended.set()

    async def pause(self, seconds: float) -> None:
        """Let emissions gather, until the last one is here."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def take(self) -> list[tuple[int, Emission]]:
        await self._filled.wait()
        self._filled.clear()
        return [self._items.popleft() for _ in range(len(self._items))]


async def _coalesced(
    mailbox: _Mailbox, pause: Callable[[], float]
) -> AsyncIterator[list[tuple[int, Emission]]]:
    """Emissions of all rows until each has ended, with a pause after each list."""
    while mailbox.open:
        emissions = await mailbox.take()
        for _, emission in emissions:
            if emission.error is not None:
                raise emission.error
        if emissions:
            yield emissions
        if mailbox.open:
            await mailbox.pause(pause())


def _nothing() -> None:
    """Wakes the thread."""
