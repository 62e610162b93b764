"""What a client notices of a router that was lost: nothing, or an error that says so.

Serve's proxy outlives the routers behind it, but what they were answering it breaks off without a
word. Here, before it, requests that can be answered by any router are sent on once more as long as
nothing of their answer went out, and streams that had begun end with an event that names the error.
"""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.endpoints import ANSWERING, READING
from router.api.events import event
from router.api.failures import failure
from router.errors import Unavailable
from router.wire.messages_error import in_messages, is_of_messages

TRIES = 5
KEPT_BYTES = 8 * 1024 * 1024
"""Of a body, that are kept to be sent on once more."""
LOST = "The router was lost while it answered; send the request again."


class Steady:
    """ASGI middleware around Serve's proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, more than once if need be."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, answer = _Body(receive, keeps=_repeatable(scope)), _Answer(scope["path"], send)
        for _ in range(TRIES):
            await self._app(scope, body.again(), answer.send)
            if answer.begun or not body.whole:
                break
        if not answer.ended and not body.left:
            await answer.end()


class _Body:
    """What a client sends, kept so that it can be read once more."""

    def __init__(self, receive: Receive, *, keeps: bool) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        self._bytes = 0
        self.whole = keeps
        """Whether all that came so far is kept."""
        self.left = False
        """Whether the client has gone."""

    def again(self) -> Receive:
        """The same from the beginning."""
        kept = iter(self._kept.copy())

        async def receive() -> Message:
            return next(kept, None) or await self._next()

        return receive

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left, self.whole = True, False
            return message
        self._bytes += len(message.get("body", b""))
        self.whole = self.whole and self._bytes <= KEPT_BYTES
        if self.whole:
            self._kept.append(message)
        return message


class _Answer:
    """What is sent back, and whether it came to its end."""

    def __init__(self, path: str, send: Send) -> None:
        self._path = path
        self._send = send
        self.begun = self.ended = self._streams = False

    async def send(self, message: Message) -> None:
        """Pass a part on."""
        if message["type"] == "http.response.start":
            self.begun, self._streams = True, _streams(message)
        self.ended = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    async def end(self) -> None:
        """Say that the rest does not come; of an answer that is no stream nothing can be said."""
        told = failure(Unavailable(1.0, LOST))
        if not self.begun:
            await told.answer(self._path)({"type": "http"}, _nothing, self._send)
        elif self._streams and is_of_messages(self._path):
            await self._tell(in_messages(told.body))
        elif self._streams:
            await self._tell({**told.body["error"], **told.body, "type": "error"})

    async def _tell(self, error: dict[str, Any]) -> None:
        await self._send({"type": "http.response.body", "body": event(error, "error")})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _repeatable(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") or scope["path"] in ANSWERING | READING


def _streams(start: Message) -> bool:
    headers = dict(start.get("headers", ()))
    return bytes(headers.get(b"content-type", b"")).startswith(b"text/event-stream")
