"""Refusals that cost next to nothing, while there is more to do than can be done.

A request that is refused for want of a place has come a long way, and every one of them takes time
from those that are answered. Who was just refused is therefore refused here, before Serve's proxy,
for the next moment. Callers are told apart by their keys: nobody is refused for what others ask.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.endpoints import ANSWERING
from router.errors import Overloaded

SECONDS = 0.1
"""For so long a refusal holds: short beside the time that the queue lasts."""
CALLERS = 10_000
KEYS = (b"authorization", b"x-api-key")
"""Headers that say who asks."""
OWN_HEADERS = (b"x-request-id",)
"""Of a response alone, and not of others that are like it."""
MARK = f'"code":"{Overloaded.code}"'.encode()


class Shedding:
    """ASGI middleware around Serve's proxy."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._refused: OrderedDict[bytes, tuple[float, list[Message]]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it as its caller was refused a moment ago."""
        if scope["type"] != "http" or scope["path"] not in ANSWERING:
            await self._app(scope, receive, send)
            return
        caller = _asked(scope)
        until, refusal = self._refused.get(caller, (0.0, []))
        if self._clock() < until:
            for message in refusal:
                await send(message)
            return
        answer = _Refusal(send)
        await self._app(scope, receive, answer.send)
        if answer.complete:
            self._remember(caller, answer.messages)

    def _remember(self, caller: bytes, refusal: list[Message]) -> None:
        self._refused[caller] = self._clock() + SECONDS, refusal
        self._refused.move_to_end(caller)
        while len(self._refused) > CALLERS:
            self._refused.popitem(last=False)


class _Refusal:
    """What is sent back, kept as long as it may be a refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.messages: list[Message] = []
        self._may = True

    @property
    def complete(self) -> bool:
        """Whether it was one, for want of a place."""
        return self._may and any(MARK in each.get("body", b"") for each in self.messages)

    async def send(self, message: Message) -> None:
        """Pass a part on."""
        if message["type"] == "http.response.start":
            self._may = message["status"] == Overloaded.status
        if self._may:
            self.messages.append(_like(message))
        await self._send(message)


def _asked(scope: Scope) -> bytes:
    """Who asks, and where: errors look otherwise to Anthropic's clients.

    A digest: nobody's key is kept, and what calls itself one may be long.
    """
    keys = (value for name, value in scope["headers"] if name in KEYS)
    return blake2b(b" ".join((scope["path"].encode(), *keys)), digest_size=16).digest()


def _like(message: Message) -> Message:
    """A message as another request gets it."""
    if "headers" not in message:
        return message
    headers = [pair for pair in message["headers"] if pair[0].lower() not in OWN_HEADERS]
    return {**message, "headers": headers}
