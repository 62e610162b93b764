"""A store of files that fsspec reaches (S3, GCS, Azure, …); one that says nothing is given up."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import Callback

from registry.errors import StorageError, StoreFailed

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""For so long a store may say nothing to anybody here."""
SLOWEST_BYTES = 256 << 10
"""A second: large parts are told of when they are there, so they may seem silent until then."""
_LOOK_SECONDS = 0.25


class RemoteFiles:
    """Files by their keys below a URL. For any thread.

    Libraries try again for minutes where a store is silent. Here who waits gives up after
    PATIENCE_SECONDS, and then all are refused at once until it is found to be back. What fsspec
    asks synchronously (a folder, SFTP) takes as long as it takes.

    Every method raises StoreFailed where the store cannot be asked.

    Attributes:
        is_away: whether it says nothing.
    """

    def __init__(self, url: str) -> None:
        """Reach a URL; nothing is asked of it yet.

        Raises:
            StoreFailed: nothing installed reaches such a URL.
        """
        self._shown = url.partition("?")[0].rpartition("@")[2]
        with self._translated():
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self._heard = time.monotonic()
        self.is_away = False
        self._looks: asyncio.Task[None] | None = None

    def written(self, key: str) -> float | None:
        """When a file was written, in Unix seconds; None if it is not there."""
        with self._translated():
            try:
                return self._time(self._ask("info", self._at(key), refresh=True))
            except FileNotFoundError:
                return None

    def folders(self) -> list[str]:
        """The names of the folders there."""
        with self._translated():
            if not self._ask("exists", self._root):
                return []
            return sorted(_name(each) for each in self._listed(self._root) if _is_folder(each))

    def files(self, folder: str) -> list[tuple[str, int, float]]:
        """Of each file in a folder its name, bytes, and when it was written, in Unix seconds."""
        with self._translated():
            found = (each for each in self._listed(self._at(folder)) if not _is_folder(each))
            return [(_name(each), each["size"], self._time(each)) for each in found]

    def put(self, file: Path, key: str) -> None:
        """Write a file; it is there whole, in the place of what was there, when this returns."""
        transfer = _Transfer(self._hear, file.stat().st_size)
        with self._translated():
            self._make_folder(key)
            self._ask("put_file", str(file), self._at(key), callback=transfer)

    def get(self, key: str, file: Path) -> None:
        """Read a file into one on this machine.

        Raises:
            StorageError: there is none.
        """
        with self._translated():
            try:
                self._ask("get_file", self._at(key), str(file), callback=_Transfer(self._hear))
            except FileNotFoundError:
                raise StorageError(f"{key} is not in the files' store {self._shown}.") from None

    def remove(self, key: str) -> None:
        """Remove a file."""
        with self._translated():
            self._ask("rm_file", self._at(key))

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("ls", folder, detail=True, refresh=True)
        return found

    def _make_folder(self, key: str) -> None:
        """Object stores have none, and would make a bucket of that name."""
        if "file" in self._files.protocol:
            self._files.makedirs(self._at(key).rpartition("/")[0], exist_ok=True)

    def _time(self, entry: dict[str, Any]) -> float:
        if isinstance(entry.get("mtime"), int | float):
            return float(entry["mtime"])
        moment = entry.get("LastModified") or self._files.modified(entry["name"])
        return float(moment.timestamp())

    def _ask(self, what: str, *arguments: Any, **options: Any) -> Any:
        if not isinstance(self._files, AsyncFileSystem):
            return getattr(self._files, what)(*arguments, **options)
        if self.is_away:
            raise self._silent()
        ask = partial(getattr(self._files, f"_{what}"), *arguments, **options)
        return sync(self._files.loop, self._answered, ask, options.get("callback"))

    async def _answered(
        self, ask: Callable[[], Awaitable[Any]], transfer: "_Transfer | None"
    ) -> Any:
        """What a store answers, for as long as it says something now and then to anybody."""
        began = time.monotonic()
        answer = asyncio.ensure_future(ask())
        try:
            while not (await asyncio.wait({answer}, timeout=_LOOK_SECONDS))[0]:
                patience = PATIENCE_SECONDS + (transfer.longest if transfer else 0.0)
                if time.monotonic() - max(began, self._heard) > patience:
                    self._lose()
                    raise self._silent()
        finally:
            answer.cancel()
        self._hear()
        return answer.result()

    def _lose(self) -> None:
        if not self.is_away:
            logger.warning("%s", self._silent())
            self.is_away = True
            self._looks = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        """Ask again and again, until there is an answer, whatever it is."""
        while self.is_away:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.wait_for(self._files._info(self._root), PATIENCE_SECONDS)
            except TimeoutError:
                continue
            except Exception as error:
                logger.debug("the files' store %s answers: %r", self._shown, error)
            self._hear()
        logger.warning("The files' store %s is back.", self._shown)

    def _hear(self) -> None:
        self._heard = time.monotonic()
        self.is_away = False

    def _silent(self) -> StoreFailed:
        return StoreFailed(f"The files' store {self._shown} says nothing.")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever a store's own library raises is a failure of it; each has its own errors."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            raise StoreFailed(f"The files' store {self._shown} failed: {error!r}.") from error


class _Transfer(Callback):  # type: ignore[misc]  # fsspec has no types
    """A file on its way; each part of it that came is heard."""

    def __init__(self, hear: Callable[[], None], size: int | None = None) -> None:
        super().__init__(size=size)
        self._hear = hear

    @property
    def longest(self) -> float:
        """Seconds that what is left of it may take."""
        left: int = max((self.size or 0) - self.value, 0)
        return left / SLOWEST_BYTES

    def call(self, *_: Any, **__: Any) -> None:
        """Called by fsspec when the size is known, and when a part came."""
        self._hear()


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")
