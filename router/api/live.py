"""`/v1/route/live`: decisions while somebody types, over a WebSocket.

Each message is a body of `POST /v1/route`. Only the newest is decided on: what came before and was
not begun is dropped. Who will likely be asked is loaded by the engine before it is.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from registry.errors import RegistryError
from registry.scopes import Scope
from router.api.authorization import allowed
from router.api.failures import failure
from router.api.route import shown
from router.api.serving import Served
from router.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    Overloaded,
    RouterError,
    Unauthorized,
)
from router.keyring import Caller
from router.service import Service
from router.wire.body import parse
from router.wire.route import RouteRequest
from router.wire.routing_options import refuse_steps

logger = logging.getLogger(__name__)

PROTOCOL = "myriad"
KEY = "myriad-key."
"""Browsers send no headers of a page's choosing; a key comes as the name of a protocol."""
MOST_CHARACTERS = 200_000
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
IDLE_SECONDS = 600.0
"""After which a forgotten page gives its place up; it may connect again."""


routes = APIRouter(tags=["routing"])


@routes.websocket("/v1/route/live")
async def decide_live(service: Served, socket: WebSocket) -> None:
    """Decide on the newest of the texts that come, over and over."""
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    with suppress(WebSocketDisconnect):
        try:
            with service.typing.entered("connections of people who type"):
                await _converse(socket, service)
        except Overloaded as error:
            await socket.send_json(failure(error).body)
            await socket.close(TRY_AGAIN_LATER)


async def _converse(socket: WebSocket, service: Service) -> None:
    newest = Newest()
    try:
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(_answer(socket, service, newest))
            await _read(socket, newest)
            answering.cancel()
    except* WebSocketDisconnect:
        pass  # The client went while it was answered.


class Newest:
    """A place for one message: a newer one takes the place of one that was not taken yet."""

    def __init__(self) -> None:
        self._count = 0
        self._text: str | None = None
        self._there = asyncio.Event()

    def put(self, text: str) -> None:
        """Take the place of what is there."""
        self._count += 1
        self._text = text
        self._there.set()

    async def take(self) -> tuple[int, str]:
        """The newest message and its number, counted from 1, once there is one."""
        await self._there.wait()
        self._there.clear()
        return self._count, self._text or ""


async def _read(socket: WebSocket, newest: Newest) -> None:
    """Take what comes, until the client goes, or says nothing for long."""
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await socket.receive()
        except TimeoutError:
            await socket.close()
            return
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        newest.put(message["bytes"].decode(errors="replace") if text is None else text)


async def _answer(socket: WebSocket, service: Service, newest: Newest) -> None:
    """Answer what is newest, for as long as somebody is there and may ask."""
    while True:
        number, text = await newest.take()
        try:
            answer = await _decide(service, _authorization(socket), text)
        except (RouterError, RegistryError) as error:
            await socket.send_json({"number": number, **failure(error).body})
            if isinstance(error, Unauthorized | Forbidden):
                await socket.close(POLICY_VIOLATION)
                return
        except Exception as error:
            logger.exception("a live decision failed")
            await socket.send_json({"number": number, **failure(error).body})
        else:
            await socket.send_json({"number": number, **answer})


async def _decide(service: Service, authorization: str | None, text: str) -> dict[str, Any]:
    caller = await _caller(service, authorization)
    if len(text) > MOST_CHARACTERS:
        raise BodyTooLarge(MOST_CHARACTERS)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The message is no text.", code="invalid_json") from None
    body = parse(raw, RouteRequest)
    refuse_steps(body.routing)
    decision = await service.resolver.route(body.turns, caller.owner, body.routing.options)
    service.hints.answerer(decision)
    service.hints.runners_up(decision)
    return await shown(service, caller, decision, body.explain)


async def _caller(service: Service, authorization: str | None) -> Caller:
    """Who asks, anew for each message: a key may be revoked, and its quota used up."""
    caller = await allowed(service.keyring, authorization, Scope.INFER)
    service.quotas.admit(caller)
    return caller


def _authorization(socket: WebSocket) -> str | None:
    for protocol in socket.scope.get("subprotocols", []):
        if protocol.startswith(KEY):
            return f"Bearer {protocol.removeprefix(KEY)}"
    return socket.headers.get("authorization")
