"""The client's end of the line: its body, read within bounds, and whether it is still there."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from router.errors import BodyStalled, BodyTooLarge, ClientGone

T = TypeVar("T")

MAX_JSON_BYTES = 4 * 1024 * 1024
STALL_SECONDS = 60
"""A client that sends nothing for so long would hold its place for nothing."""


async def bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body in chunks.

    Raises:
        BodyTooLarge: As soon as it is, or says that it is, over `limit` bytes.
        BodyStalled: Nothing of it came for STALL_SECONDS.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise BodyTooLarge(limit)
    size = 0
    async with aclosing(request.stream()) as chunks:
        while True:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise BodyStalled(STALL_SECONDS) from None
            if chunk is None:
                return
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            yield chunk


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, but cancel it as soon as the client is gone. The body must have been read.

    Raises:
        ClientGone: The client went first.
    """
    return await unless(_left(receive), work)


async def unless(left: Coroutine[Any, Any, object], work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, but cancel it as soon as `left` returns.

    Raises:
        ClientGone: It did so first.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone("The client closed the connection.")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
