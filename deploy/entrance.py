"""Where a router takes requests from the front of its machine, without Serve in between."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Send

from deploy.pipe import Pipe

logger = logging.getLogger(__name__)

OPEN = "[!.]*"
"""The sockets' names, once somebody listens."""
TAKEN = "taken"
BACKLOG = 4096
ABNORMAL = {"type": "websocket.disconnect", "code": 1006}
"""What a WebSocket is told of a front that was lost (RFC 6455, 7.4.1)."""


class Entrance:
    """A Unix socket on which an application is asked."""

    def __init__(self, app: ASGIApp, socket: Path) -> None:
        """Nobody is let in before `open`."""
        self._app = app
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._closed = False
        self._visits: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take requests from now on."""
        draft = self._socket.with_name(f".{self._socket.name}")
        self._server = await asyncio.start_unix_server(self._begin, draft, backlog=BACKLOG)
        # Not before it listens: who refuses is taken for dead.
        draft.rename(self._socket)

    async def close(self) -> None:
        """Take no more, and end once those are answered that were taken."""
        self._closed = True
        self._socket.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        while self._visits:
            await asyncio.wait(self._visits)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.close()
            return
        visit = asyncio.create_task(self._answer(Pipe(reader, writer)))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _answer(self, pipe: Pipe) -> None:
        try:
            # Whoever is not told so is free to ask elsewhere.
            await pipe.send(TAKEN)
            if (scope := await pipe.receive()) is not None:
                await self._app(scope, _receiver(pipe, scope["type"]), _sender(pipe))
        except Exception:
            logger.exception("a request broke off")
        finally:
            await pipe.end()


def _receiver(pipe: Pipe, kind: str) -> Receive:
    lost = {"http": {"type": "http.disconnect"}}.get(kind, ABNORMAL)
    left: Message | None = None

    async def receive() -> Message:
        nonlocal left
        message = left or await pipe.receive() or lost
        left = message if message["type"] == lost["type"] else None
        return message

    return receive


def _sender(pipe: Pipe) -> Send:
    async def send(message: Message) -> None:
        # As servers have it: what nobody waits for any more is dropped.
        with suppress(ConnectionError):
            await pipe.send(message)

    return send
