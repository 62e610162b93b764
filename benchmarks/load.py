"""Many requests at once against a running server, and how each of them ended."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import aiohttp

Body = dict[str, object]
Found = TypeVar("Found")
CONNECTS, CONNECT_SECONDS = 300, 0.2


class End(Enum):
    """How a request ended."""

    COMPLETE = "complete"
    REFUSED = "refused"
    """An error before anything of an answer: told in full, and nothing was half done."""
    BROKEN = "broken"
    """A stream that had begun ended with an explicit error."""
    LOST = "lost"
    """The connection closed, or said what nobody can read: the client was told nothing."""


@dataclass(slots=True)
class Answer:
    """One request and its end; times are those of `time.perf_counter`."""

    began: float
    streamed: bool
    ended: float = 0.0
    end: End = End.LOST
    status: int = 0
    said: str = ""
    deltas: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def seconds(self) -> float:
        """From beginning to end."""
        return self.ended - self.began

    @property
    def first(self) -> float:
        """Seconds to the first piece of the answer."""
        return self.deltas[0] - self.began

    @property
    def gaps(self) -> list[float]:
        """Seconds between pieces of the answer."""
        return [after - before for before, after in zip(self.deltas, self.deltas[1:], strict=False)]


class Load:
    """A client of many connections."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def ask(self, body: Body, path: str = "/v1/chat/completions") -> Answer:
        """Send a request and read its answer to the end; never raises for how that is."""
        answer = Answer(time.perf_counter(), bool(body.get("stream")))
        try:
            async with self._connected(path, body) as response:
                answer.status = response.status
                if not response.ok:
                    _refused(answer, await response.read())
                elif answer.streamed:
                    await _read(answer, response)
                else:
                    _whole(answer, await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            answer.said = repr(error)
        answer.ended = time.perf_counter()
        return answer

    @asynccontextmanager
    async def _connected(self, path: str, body: Body) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response; a connection that nobody takes is tried again for a while."""
        for _ in range(CONNECTS):
            try:
                async with self._http.post(path, json=body) as response:
                    yield response
                return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(CONNECT_SECONDS)
        raise aiohttp.ClientConnectionError("nobody listens")

    async def all(self, bodies: Iterable[Body], at_once: int) -> list[Answer]:
        """Send all of them, so many at a time."""
        waiting, answers = iter(bodies), list[Answer]()

        async def client() -> None:
            for body in waiting:
                answers.append(await self.ask(body))

        await asyncio.gather(*(client() for _ in range(at_once)))
        return answers

    async def every(
        self, seconds: float, bodies: Iterable[Body], until: Callable[[], bool]
    ) -> list[Answer]:
        """Send one every so many seconds, however the others fare, until it is enough."""
        sent, began = list[asyncio.Task[Answer]](), time.perf_counter()
        for number, body in enumerate(bodies):
            await asyncio.sleep(max(began + number * seconds - time.perf_counter(), 0))
            if until():
                break
            sent.append(asyncio.create_task(self.ask(body)))
        return list(await asyncio.gather(*sent))


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """A client of a session of its own."""
    async with session(url) as http:
        yield Load(http)


def session(url: str, *, raise_for_status: bool = False) -> aiohttp.ClientSession:
    """Connections without limits of their own, which leave the machine to what they ask."""
    connector = aiohttp.TCPConnector(limit=0)
    patience = aiohttp.ClientTimeout(total=900)
    return aiohttp.ClientSession(
        url, connector=connector, timeout=patience, raise_for_status=raise_for_status
    )


def under_load(url: str, work: Callable[[Load], Awaitable[Found]]) -> Found:
    """What the work finds, with a client of its own."""

    async def begin() -> Found:
        async with load(url) as client:
            return await work(client)

    return asyncio.run(begin())


def ends(answers: Iterable[Answer]) -> Counter[End]:
    """How many ended in each way."""
    return Counter(answer.end for answer in answers)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _refused(answer: Answer, content: bytes) -> None:
    answer.said = str(json.loads(content)["error"]["message"])
    answer.end = End.REFUSED


def _whole(answer: Answer, content: bytes) -> None:
    read = json.loads(content)
    answer.deltas.append(time.perf_counter())
    answer.tokens = read["usage"]["completion_tokens"]
    answer.end = End.COMPLETE


async def _read(answer: Answer, response: aiohttp.ClientResponse) -> None:
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            answer.end = End.COMPLETE
            return
        event = json.loads(data)
        if "error" in event:
            answer.end, answer.said = End.BROKEN, str(event["error"]["message"])
            return
        if event["choices"] and event["choices"][0]["delta"].get("content"):
            answer.deltas.append(time.perf_counter())
