"""The adapters that vLLM holds: loaded when they are wanted, unloaded to make room."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from registry.files import AdapterFiles
from specialists.engine.loads import LocateAdapter
from specialists.engine.lora import float32_bytes, shapes_of
from specialists.engine.pace import Pace
from specialists.engine.slots import SlotPool
from specialists.errors import AdapterUnavailable, EngineError

logger = logging.getLogger(__name__)

Call = Callable[[dict[str, Any]], "Future[None]"]


@dataclass(frozen=True, slots=True)
class Known:
    """An adapter that vLLM holds, by the number that it has there."""

    number: int
    nbytes: int


class Adapters:
    """Adapters within a byte budget, in vLLM. For one event loop.

    vLLM loads whatever a request names, and forgets the least recently used: what it does by
    itself nobody can count. So it is told what to load and what to unload before a request is, and
    each is named by its version's digest, which also keys what it caches of prompts.
    """

    def __init__(
        self, slots: SlotPool[Known], folder: Path, locate: LocateAdapter, call: Call, pace: Pace
    ) -> None:
        """Take the parts.

        Args:
            slots: the budget.
            folder: an empty one, where each adapter that is held is a folder as PEFT has it.
            locate: finds an adapter's files.
            call: tells vLLM to load or unload.
            pace: told how long each load took.
        """
        self._slots = slots
        self._folder = folder
        self._locate = locate
        self._call = call
        self._pace = pace
        self._numbers = count(1)
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._wanted: Counter[str] = Counter()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def held(self, digest: str | None) -> AsyncIterator[int | None]:
        """The number of an adapter, which stays loaded meanwhile; None is the bare base.

        Raises:
            AdapterUnavailable: it could not be loaded.
            EngineStopped: vLLM has ended.
        """
        if digest is None:
            yield None
            return
        await self._loaded(digest)
        self._slots.pin(digest)
        try:
            yield self._slots[digest].number
        finally:
            self._slots.unpin(digest)
            self._tell_freed()

    def hint(self, digest: str, *, evicts: bool) -> None:
        """Load an adapter that may be wanted soon, if there is room; see `Loads.hint`."""
        if digest in self._slots or digest in self._loads:
            return
        keep = () if evicts else tuple(self._slots.resident())
        self._begin(digest, self._load(digest, keep, waits=False))

    async def _loaded(self, digest: str) -> None:
        self._wanted[digest] += 1
        try:
            while digest not in self._slots:
                load = self._loads.get(digest) or self._begin(digest, self._load(digest, ()))
                # Whoever leaves does not take from the others what is nearly there.
                await asyncio.shield(load)
        finally:
            self._wanted[digest] -= 1
            self._wanted += Counter()
            # One that nobody wants any more may go.
            self._tell_freed()

    def _begin(self, digest: str, load: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(load)
        self._loads[digest] = task
        task.add_done_callback(lambda done: self._ended(digest, done))
        return task

    def _ended(self, digest: str, load: "asyncio.Task[None]") -> None:
        del self._loads[digest]
        if not load.cancelled() and (error := load.exception()):
            logger.error("adapter %s could not be loaded", digest, exc_info=error)

    async def _load(self, digest: str, keep: Collection[str], *, waits: bool = True) -> None:
        began = time.monotonic()
        try:
            files, nbytes = await asyncio.to_thread(self._measured, digest)
        except Exception as error:
            raise AdapterUnavailable(f"adapter {digest} could not be loaded") from error
        while not self._reserved(digest, nbytes, () if digest in self._wanted else keep):
            if not waits and digest not in self._wanted:
                return
            await self._freed.wait()
        try:
            number = await self._told(digest, files)
        except EngineError as error:
            self._slots.release(digest)
            self._tell_freed()
            if isinstance(error, AdapterUnavailable):
                raise AdapterUnavailable(
                    f"adapter {digest} could not be loaded: {error}"
                ) from error
            raise
        self._slots.fill(digest, Known(number, nbytes))
        self._tell_freed()
        self._pace.loaded(time.monotonic() - began)

    def _measured(self, digest: str) -> tuple[AdapterFiles, int]:
        files = self._locate(digest)
        return files, float32_bytes(shapes_of(files.weights))

    def _reserved(self, digest: str, nbytes: int, keep: Collection[str]) -> bool:
        """Whether there is room now; what had to go for it is unloaded."""
        before = {name: self._slots[name].number for name in self._slots.resident()}
        wanted = [name for name in self._wanted if name != digest]
        if not self._slots.reserve(digest, nbytes, {*keep, *wanted}):
            return False
        for name in before.keys() - self._slots.resident().keys():
            self._unload(name, before[name])
        return True

    async def _told(self, digest: str, files: AdapterFiles) -> int:
        number, folder = next(self._numbers), self._folder / digest
        folder.mkdir(exist_ok=True)
        there = AdapterFiles.in_folder(folder)
        for link, file in ((there.config, files.config), (there.weights, files.weights)):
            link.unlink(missing_ok=True)
            link.symlink_to(file.absolute())
        told = {"load": number, "name": digest, "folder": str(folder)}
        await asyncio.wrap_future(self._call(told))
        return number

    def _unload(self, digest: str, number: int) -> None:
        def told(call: "Future[None]") -> None:
            with suppress(EngineError):
                call.result()
                return
            logger.error("adapter %s was not unloaded: %s", digest, call.exception())

        self._call({"unload": number}).add_done_callback(told)

    def _tell_freed(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()
