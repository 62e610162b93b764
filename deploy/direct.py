"""The short way of a request from the front of a machine to a router that runs there: a socket.

Where there is none, and for Serve's own pages, Serve's way is there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.nearby import ROUTERS, Nearby
from deploy.pipe import Pipe

OF_SERVE = "/-/"
"""What Serve's proxy answers itself begins so."""
OF_THE_SERVER = {"app", "extensions", "state"}
"""What a scope holds that is not of the request, and may be anything."""
ABNORMAL = {"type": "websocket.disconnect", "code": 1006}
"""What a WebSocket is told of a front that was lost (RFC 6455, 7.4.1)."""


class Direct:
    """ASGI middleware around Serve's proxy."""

    def __init__(self, app: ASGIApp, routers: Nearby | None = None) -> None:
        self._app = app
        self._routers = routers or Nearby(ROUTERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the router that is least busy by what went there from here."""
        for name in self._routers.names() if _is_the_routers(scope) else ():
            async with self._routers.entered(name) as pipe:
                if pipe is not None:
                    await _carry(pipe, scope, receive, send)
                    return
        await self._app(scope, receive, send)


def directly(app: ASGIApp) -> Callable[[Pipe], Awaitable[None]]:
    """What an `Entrance` does for requests of `Direct`: it asks an application."""

    async def answer(pipe: Pipe) -> None:
        if (scope := await pipe.receive()) is not None:
            await app(scope, _receiver(pipe, scope["type"]), _sender(pipe))

    return answer


def _is_the_routers(scope: Scope) -> bool:
    return scope["type"] in ("http", "websocket") and not scope["path"].startswith(OF_SERVE)


async def _carry(pipe: Pipe, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass messages on both ways until the router has said its last.

    The head of an answer in one piece waits for its body: a router may be lost between them, and
    as long as nothing of an answer went out another one can give it.
    """
    asking = asyncio.create_task(_ask(pipe, scope, receive))
    heads: list[Message] = []
    try:
        while (message := await pipe.receive()) is not None:
            heads.append(message)
            if not _is_head(message):
                for each in heads:
                    await send(each)
                heads.clear()
    finally:
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


def _is_head(message: Message) -> bool:
    """Whether it begins an answer whose length is known, and which therefore follows at once."""
    named = dict(message.get("headers", ())) if message["type"] == "http.response.start" else {}
    return b"content-length" in named


def _sendable(scope: Scope) -> dict[str, Any]:
    return {name: value for name, value in scope.items() if name not in OF_THE_SERVER}


def _receiver(pipe: Pipe, kind: str) -> Receive:
    lost = {"http": {"type": "http.disconnect"}}.get(kind, ABNORMAL)
    left: Message | None = None

    async def receive() -> Message:
        nonlocal left
        message: Message = left or await pipe.receive() or lost
        left = message if message["type"] == lost["type"] else None
        return message

    return receive


def _sender(pipe: Pipe) -> Send:
    async def send(message: Message) -> None:
        # As servers have it: what nobody waits for any more is dropped.
        with suppress(ConnectionError):
            await pipe.send(message)

    return send
