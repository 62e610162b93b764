"""A real HTTP server in a thread, for applications that tests talk to as clients do."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from patience import HANGS
from websockets.exceptions import InvalidState

HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
    "sec-websocket-version": "13",
}
"""Headers by which a client asks for a WebSocket."""


class Server(uvicorn.Server):
    """Says when it listens, and stops at once when it is told to, not at the next tick."""

    def __init__(self, app) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
        self.listening = threading.Event()

    @property
    def url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def startup(self, sockets=None) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stopped.wait()

    async def shutdown(self, sockets=None) -> None:
        """As uvicorn's, which looks ten times a second whether everybody has left."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            # Of one that its client is closing uvicorn does not know it.
            with suppress(InvalidState):
                connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 (none tells)
            await asyncio.sleep(0.001)


@contextmanager
def serve(app) -> Iterator[str]:
    """Serve an ASGI application; gives its URL."""
    server = Server(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(HANGS)
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(HANGS)
        assert not thread.is_alive()
