"""The short way from the front of a machine to the routers that run on it.

Serve's proxy hands a request to a replica as a call of an actor, and every part of the answer comes
back as one more: 15 ms of a core for each. Routers on the same machine take requests on a socket
too; where there is none, and for Serve's own pages, the long way is there.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.entrance import OPEN
from deploy.pipe import Pipe
from registry.private import private_folder

OF_SERVE = "/-/"
"""What Serve's proxy answers itself begins so."""
OF_THE_SERVER = {"app", "extensions", "state"}
"""What a scope holds that is not of the request, and may be anything."""


class Direct:
    """ASGI middleware around Serve's proxy."""

    def __init__(self, app: ASGIApp, folder: Path | None = None) -> None:
        self._app = app
        self._folder = folder
        self._ongoing: Counter[Path] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the router that is least busy by what went there from here."""
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(OF_SERVE):
            await self._app(scope, receive, send)
            return
        async with self._entered() as pipe:
            if pipe is None:
                await self._app(scope, receive, send)
            else:
                await _carry(pipe, scope, receive, send)

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[Pipe | None]:
        """A way to a router that has said that it takes the request; None where there is none."""
        for socket in self._sockets():
            self._ongoing[socket] += 1
            try:
                if (pipe := await _enter(socket)) is not None:
                    yield pipe
                    return
            finally:
                self._ongoing[socket] -= 1
        yield None

    def _sockets(self) -> list[Path]:
        if self._folder is None:
            self._folder = routers_here()
        there = self._folder.glob(OPEN)
        self._ongoing = +self._ongoing
        return sorted(there, key=lambda socket: self._ongoing[socket])


async def _enter(socket: Path) -> Pipe | None:
    try:
        pipe = Pipe(*await asyncio.open_unix_connection(socket))
    except ConnectionRefusedError:
        # Of a router that was killed: nobody will ever listen on it again.
        _remove(socket)
        return None
    except OSError:
        return None
    if await pipe.receive() is None:
        pipe.close()
        return None
    return pipe


async def _carry(pipe: Pipe, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass messages on both ways until the router has said its last."""
    asking = asyncio.create_task(_ask(pipe, scope, receive))
    try:
        while (message := await pipe.receive()) is not None:
            await send(message)
    finally:
        pipe.close()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _ask(pipe: Pipe, scope: Scope, receive: Receive) -> None:
    with suppress(ConnectionError):
        await pipe.send(_sendable(scope))
        while True:
            message = await receive()
            await pipe.send(message)
            if message["type"].endswith("disconnect"):
                return


def _sendable(scope: Scope) -> dict[str, Any]:
    return {name: value for name, value in scope.items() if name not in OF_THE_SERVER}


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def routers_here() -> Path:
    """The folder where those routers of this cluster have their sockets that run on this machine.

    Raises:
        StorageError: it is somebody else's.
    """
    # Not before it is needed: it takes a second.
    import ray

    # Beside Ray's own sockets, whose names are not shorter (`ray_cluster.SOCKET_PATH_ROOM`).
    session = ray.get_runtime_context().worker.node.get_session_dir_path()
    return private_folder(Path(session) / "routers")
