"""Loading adapters beside the steps: how large is it, room for it, then the weights."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from registry.files import AdapterFiles
from specialists.engine.pace import Pace
from specialists.engine.slots import Resident, SlotPool

logger = logging.getLogger(__name__)

HINTS = 16
"""Adapters that may be wanted soon and are remembered; the oldest hint is forgotten first."""

LocateAdapter = Callable[[str], AdapterFiles]
"""From a version's digest to its files; raises LookupError."""


@dataclass(slots=True)
class _Load:
    """One adapter on its way: first measured, then, once room is reserved for it, loaded."""

    measured: Future[tuple[AdapterFiles, int]]
    loaded: Future[Resident] | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def futures(self) -> list[Future[Any]]:
        """What is done for it in other threads, or was."""
        return [self.measured] if self.loaded is None else [self.measured, self.loaded]


class Loads:
    """The adapters that are on their way into the slots.

    What waits for room is only a number of bytes: no weights are held outside the budget. Not
    thread-safe; the work itself is done in a thread of its own.
    """

    def __init__(
        self,
        slots: SlotPool[Any],
        locate: LocateAdapter,
        measure: Callable[[AdapterFiles], int],
        load: Callable[[AdapterFiles], Resident],
        wake: Callable[[], None],
        pace: Pace,
        finders: int = 1,
    ) -> None:
        """Take the parts.

        Args:
            slots: where adapters go.
            locate: finds an adapter's files.
            measure: says how many bytes an adapter will take.
            load: reads them.
            wake: called from the loader's thread when something is done.
            pace: told how long each load took.
            finders: threads that find files; one is the loader's own. More let an adapter that is
                far away hold up none that is here.
        """
        self._slots = slots
        self._locate = locate
        self._measure = measure
        self._load = load
        self._wake = wake
        self._pace = pace
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="adapter-loader")
        self._finder = (
            self._loader if finders == 1 else ThreadPoolExecutor(finders, "adapter-finder")
        )
        self._loads: dict[str, _Load] = {}
        # Each with whether an idle adapter may be evicted for it.
        self._hints: OrderedDict[str, bool] = OrderedDict()

    def hint(self, digest: str, *, evicts: bool) -> None:
        """Load an adapter that may be wanted soon, once nothing is loaded that is awaited.

        Args:
            digest: the adapter.
            evicts: whether it may take the place of idle ones, or only room that is free.
        """
        self._hints[digest] = evicts
        while len(self._hints) > HINTS:
            self._hints.popitem(last=False)

    def advance(self, awaited: Collection[str], soon: Iterable[str]) -> "Progress":
        """Move every adapter that is awaited on by what can be done now.

        Args:
            awaited: what rows wait for, the one that is waited for longest first.
            soon: those of them whose loading may begin: a long queue must not evict what its
                front needs.
        """
        self._forget_all_but({*awaited, *self._hints})
        failed: dict[str, BaseException] = {}
        keep: set[str] = set()
        for digest in awaited:
            try:
                if not self._move(digest, keep):
                    return Progress(digest, failed)
            except Exception as error:
                failed[digest] = error
                self._drop(digest)
            keep.add(digest)
        for digest in soon:
            if digest not in self._slots and digest not in self._loads and digest not in failed:
                self._begin(digest)
        self._follow_hints(awaited)
        return Progress(None, failed)

    def close(self) -> None:
        """End the threads, once they have done what they are doing."""
        self._finder.shutdown(cancel_futures=True)
        self._loader.shutdown(cancel_futures=True)

    def wait(self) -> None:
        """Return when nothing is being done in the threads."""
        wait([future for load in self._loads.values() for future in load.futures])

    def _follow_hints(self, awaited: Collection[str]) -> None:
        """Move on what may be wanted soon, one at a time and behind all that is awaited."""
        for digest, evicts in list(self._hints.items()):
            if digest in self._slots or digest in awaited:
                del self._hints[digest]
            elif digest in self._loads:
                self._follow(digest, awaited if evicts else [*awaited, *self._slots.resident()])
            elif not self._loads:
                self._begin(digest)

    def _follow(self, digest: str, keep: Collection[str]) -> None:
        """Move a hint's load on; one that finds no room, or fails, is given up."""
        try:
            if self._move(digest, keep):
                return
        except Exception:
            logger.warning("adapter %s could not be loaded beforehand", digest, exc_info=True)
        self._drop(digest)
        del self._hints[digest]

    def _move(self, digest: str, keep: Collection[str]) -> bool:
        """Move one load on; False when it has been measured and finds no room."""
        load = self._loads.get(digest)
        if load is None:
            return True
        if load.loaded is None and load.measured.done():
            files, nbytes = load.measured.result()
            if not self._slots.reserve(digest, nbytes, keep):
                return False
            load.loaded = self._submit(self._loader, self._load, files)
        if load.loaded is not None and load.loaded.done():
            self._slots.fill(digest, load.loaded.result())
            self._pace.loaded(time.monotonic() - load.began)
            del self._loads[digest]
        return True

    def _forget_all_but(self, awaited: Collection[str]) -> None:
        """Let go of loads whose rows have left; one that is under way becomes an idle adapter."""
        for digest, load in list(self._loads.items()):
            if digest in awaited:
                continue
            if load.loaded is None:
                load.measured.cancel()
                self._drop(digest)
            elif load.loaded.cancel() or (load.loaded.done() and load.loaded.exception()):
                self._drop(digest)
            elif load.loaded.done():
                self._move(digest, ())

    def _drop(self, digest: str) -> None:
        load = self._loads.pop(digest)
        if load.loaded is not None:
            self._slots.release(digest)

    def _begin(self, digest: str) -> None:
        self._loads[digest] = _Load(self._submit(self._finder, self._found, digest))

    def _found(self, digest: str) -> tuple[AdapterFiles, int]:
        files = self._locate(digest)
        return files, self._measure(files)

    def _submit(self, threads: Executor, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = threads.submit(work, *arguments)
        future.add_done_callback(lambda _: self._wake())
        return future


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the loads are.

    Attributes:
        crowded_out: the first adapter that finds no room, since those in use or awaited before
            it stay; None when all do.
        failed: adapters that cannot be had, and why.
    """

    crowded_out: str | None
    failed: dict[str, BaseException]
