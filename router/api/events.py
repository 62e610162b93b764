"""Server-sent events, as OpenAI's clients read them."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.answer import cut_short
from router.api.connection import while_connected
from router.api.failures import failure
from router.engine import Delta, Items, Usage
from router.errors import ClientGone, RouterError
from router.wire.writer import Writer

logger = logging.getLogger(__name__)


class EventStream(Response):
    """Sends items as events while they are made; closes them when the client goes.

    The first item has been waited for, so that a refusal could still be given a status.
    """

    media_type = "text/event-stream"

    def __init__(
        self, first: Delta | Usage, items: Items, writer: Writer, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._items = items
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await while_connected(receive, self._send(scope["state"]["request_id"], send))
        except ClientGone:
            pass
        finally:
            await self._items.aclose()

    async def _send(self, request_id: str, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        resumed = _resumed(self._first, self._items)
        async with aclosing(events(resumed, self._writer, request_id)) as bodies:
            async for body in bodies:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def events(items: Items, writer: Writer, request_id: str) -> AsyncGenerator[bytes, None]:
    """An answer's events up to its last, or an error in place of what is missing."""
    usage: Usage | None = None
    try:
        async for item in items:
            if isinstance(item, Delta):
                for data in writer.stream_delta(item):
                    yield event(data, writer.name(data))
            else:
                usage = item
        if usage is None:
            raise cut_short()
    except Exception as error:
        # Too late for a status: clients raise on an event that holds an error.
        level = logging.WARNING if isinstance(error, RouterError) else logging.ERROR
        logger.log(level, "stream %s broke off", request_id, exc_info=error)
        data = writer.stream_error(failure(error).body)
        yield event(data, writer.name(data))
        return
    for last in writer.stream_end(usage):
        yield event(last, None if isinstance(last, str) else writer.name(last))


def event(data: Any, name: str | None = None) -> bytes:
    """One event: JSON, or a text as it stands."""
    head = b"" if name is None else f"event: {name}\n".encode()
    body = data.encode() if isinstance(data, str) else to_json(data)
    return head + b"data: " + body + b"\n\n"


async def _resumed(first: Delta | Usage, items: Items) -> Items:
    yield first
    async for item in items:
        yield item
