"""Replicas that run on this machine, asked on sockets in place of calls of actors.

Serve passes a request to a replica as a call of an actor, and every part of the answer comes back
as one more, through Ray's own threads on both sides. A socket takes a sixth of that.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from deploy.entrance import OPEN
from deploy.pipe import Pipe
from registry.private import private_folder

ROUTERS, ENGINES = "routers", "engines"
TOLD_SECONDS = 1.0
"""For so long it is believed what a replica said of others' visits."""
GREETING_SECONDS = 2.0
"""That a replica has to say that it takes a request; one that hangs says nothing."""
SILENT_SECONDS = 10.0
"""For so long one that said nothing is asked last."""


class _Told(NamedTuple):
    at: float
    visits: int


class Nearby:
    """The replicas of a deployment that are here, by their names."""

    def __init__(self, deployment: str, folder: Path | None = None) -> None:
        """Look for them.

        Args:
            deployment: `ROUTERS` or `ENGINES`.
            folder: where their sockets are; None is this cluster's own.
        """
        self._deployment = deployment
        self._folder = folder
        self._ongoing: Counter[str] = Counter()
        self._others: dict[str, _Told] = {}
        self._silent_until: dict[str, float] = {}

    def names(self) -> list[str]:
        """Those that take requests, or did before they were killed; the least busy first."""
        there = (socket.name for socket in self._sockets().glob(OPEN))
        return sorted(there, key=lambda name: (self.is_silent(name), self._ongoing[name]))

    def is_silent(self, name: str) -> bool:
        """Whether one said nothing lately when it was to greet who came."""
        return time.monotonic() < self._silent_until.get(name, 0.0)

    def visits(self, name: str) -> int | None:
        """How many there are at one, from here and from others; None if it told of none lately."""
        told = self._others.get(name)
        if told is None or time.monotonic() - told.at > TOLD_SECONDS:
            return None
        return self._ongoing[name] + told.visits

    @asynccontextmanager
    async def entered(self, name: str) -> AsyncIterator[Pipe | None]:
        """A way to one that has said that it takes a request; None if it is not here, or silent."""
        self._ongoing[name] += 1
        pipe = None
        try:
            pipe = await _connected(self._sockets() / name)
            visits = await self._greeted(name, pipe)
            if visits is not None:
                others = max(visits - self._ongoing[name], 0)
                self._others[name] = _Told(time.monotonic(), others)
            yield pipe if visits is not None else None
        finally:
            self._ongoing[name] -= 1
            if pipe is not None:
                pipe.close()

    async def _greeted(self, name: str, pipe: Pipe | None) -> int | None:
        """How many visits one says that it has; None where it is not here, or says nothing."""
        visits: int | None = None
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                visits = None if pipe is None else await pipe.receive()
        except TimeoutError:
            self._silent_until[name] = time.monotonic() + SILENT_SECONDS
        else:
            self._silent_until.pop(name, None)
        return visits

    def _sockets(self) -> Path:
        if self._folder is None:
            self._folder = sockets(self._deployment)
        return self._folder


def sockets(deployment: str) -> Path:
    """The folder where those replicas of this cluster have their sockets that run here.

    Raises:
        StorageError: it is somebody else's.
    """
    # Not before it is needed: it takes a second.
    import ray

    # Beside Ray's own sockets, whose paths are not shorter (`ray_cluster.SOCKET_PATH_ROOM`).
    session = ray.get_runtime_context().worker.node.get_session_dir_path()
    return private_folder(Path(session) / deployment)


async def _connected(socket: Path) -> Pipe | None:
    try:
        return Pipe(*await asyncio.open_unix_connection(socket))
    except ConnectionRefusedError:
        # Of one that was killed: nobody will ever listen on it again.
        _remove(socket)
    except OSError:
        pass
    return None


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)
