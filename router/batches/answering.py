"""Has this process's own application answer a batch's requests, as if they had come to it."""

import asyncio
from contextlib import suppress

import httpx
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp

from registry.batch import Answer, Batch
from router.api.behalf import OnBehalf
from router.api.boundary import HEADER
from router.batches.entries import Entry

BUSY = (429, 503)
"""Statuses of requests that may be asked again."""
WAIT_SECONDS, LONGEST_WAIT = 1.0, 60.0
ORIGIN = "http://127.0.0.1"
LATE, FULL = "batch_expired", "batch_too_large"
WHY = {
    LATE: "This request could not be executed before the completion window expired.",
    FULL: "The answers before this one take all the bytes of a batch; make several batches of it.",
}


class Answering:
    """Answers a batch's requests; an async context manager."""

    def __init__(self, app: ASGIApp, batch: Batch) -> None:
        transport = httpx.ASGITransport(OnBehalf(app, batch.actor), raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
        self._batch = batch
        self._hurries = asyncio.Event()
        self.waiting = 0
        """Requests that there is no room for at the moment."""

    async def __aenter__(self) -> "Answering":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def hurry(self) -> None:
        """Give up those that there is no room for."""
        self._hurries.set()

    async def answer(self, entry: Entry) -> Answer | None:
        """What comes of a request, asked again until there is room; None if it is given up."""
        name = f"{self._batch.id}-{entry.number}"
        headers = {"content-type": "application/json", HEADER: name}
        path = self._batch.endpoint
        while True:
            came = await self._client.post(path, content=entry.body, headers=headers)
            if came.status_code not in BUSY:
                break
            await self._wait(_seconds(came))
            if self._hurries.is_set():
                return None
        response = {
            "status_code": came.status_code,
            "request_id": name,
            "body": from_json(came.content),
        }
        return Answer(entry.number, came.is_error, _line(entry, name, response, None))

    async def _wait(self, seconds: float) -> None:
        self.waiting += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurries.wait()
        self.waiting -= 1


def unanswered(batch: Batch, entry: Entry, code: str) -> Answer:
    """What is said of a request that was not begun with; `code` is one of WHY."""
    error = {"code": code, "message": WHY[code]}
    text = _line(entry, f"{batch.id}-{entry.number}", None, error)
    return Answer(entry.number, failed=True, text=text)


def _line(entry: Entry, name: str, response: object, error: object) -> str:
    line = {
        "id": f"batch_req_{name}",
        "custom_id": entry.custom_id,
        "response": response,
        "error": error,
    }
    return to_json(line).decode()


def _seconds(response: httpx.Response) -> float:
    """For which it says to wait, or a moment."""
    said = response.headers.get("retry-after", "")
    return min(float(said), LONGEST_WAIT) if said.isdecimal() else WAIT_SECONDS
