"""Teachers: models behind OpenAI's API that are asked within a budget, and nothing twice."""

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import HttpUrl, TypeAdapter, ValidationError

from specialists.errors import BudgetSpent, TeacherFailed
from specialists.training.completion import refusal_in, said_in
from specialists.training.notebook import Answer, Notebook

TRIES = 5
"""At least, before a question is given up."""
PATIENCE_SECONDS = 120.0
"""From a question's first failure: for so long a teacher that is there may answer nobody."""
FIRST_WAIT_SECONDS = 0.5
"""After a failure; twice as long after each further one."""
LONGEST_WAIT_SECONDS = 60.0
AT_ONCE = 8
MOST_BYTES = 8 * 1024 * 1024
"""Of one answer; what is longer is none."""
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses after which the same question may be answered."""

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a teacher is asked.

    Attributes:
        url: OpenAI's base URL, such as `https://host/v1`.
        model: its name there.
        key: what is sent as the API key.
        license: the terms of its answers.
    """

    url: str
    model: str
    key: str | None = None
    license: str | None = None

    def teacher(self, notebook: Path, budget: int) -> "Teacher":
        """Who answers there, within a budget, and is asked nothing that stands in the notebook."""
        return Teacher(self.url, self.model, Notebook(notebook), key=self.key, budget=budget)


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why there is no answer yet, and for how many seconds the teacher wants to be left alone."""

    said: str
    rest: float = 0.0


class Teacher:
    """Asks a model; to be used in an `async with`."""

    def __init__(
        self,
        url: str,
        model: str,
        notebook: Notebook,
        *,
        key: str | None = None,
        budget: int | None = None,
        seconds: float = 120.0,
    ) -> None:
        """Ask at a URL.

        Args:
            url: OpenAI's base URL, such as `https://host/v1`.
            model: whom to ask.
            notebook: what was answered before.
            key: what is sent as the API key.
            budget: tokens of prompts and answers, those in the notebook among them; None for any.
            seconds: that one answer may take, from the question to its last byte.

        Raises:
            TeacherFailed: there can be nobody at such a URL, or nobody has such a key.
        """
        self._http = httpx.AsyncClient(
            base_url=_base(url), headers=_headers(key), timeout=httpx.Timeout(seconds, connect=10.0)
        )
        self.model = model
        self._seconds = seconds
        self._notebook = notebook
        self._budget = budget
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._is_there = False
        # When that was asked what was answered, of the latest.
        self._answered_from = -math.inf
        self._gone: str | None = None

    async def __aenter__(self) -> "Teacher":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def spent(self) -> int:
        """Tokens so far."""
        return self._notebook.tokens

    async def ask(self, messages: Messages, **sampling: Any) -> Answer:
        """What the teacher says, or said before to the same question.

        Raises:
            BudgetSpent: there are no tokens left.
            TeacherFailed: it did not answer, however often it was asked, or it is asked no more.
        """
        body = {"model": self.model, "messages": list(messages), **sampling}
        question = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        async with self._gate:
            known = self._notebook.find(question)
            if known is not None:
                return known
            if self._budget is not None and self.spent >= self._budget:
                raise BudgetSpent(f"the budget of {self._budget:,} tokens is spent")
            if self._gone is not None:
                raise TeacherFailed(self._gone)
            answer = await self._answered(body)
            self._notebook.note(question, answer)
            return answer

    async def _answered(self, body: dict[str, Any]) -> Answer:
        wait, tries, failed_at = FIRST_WAIT_SECONDS, 0, math.inf
        while not isinstance(found := await self._tried(body), Answer):
            tries, failed_at = tries + 1, min(failed_at, time.monotonic())
            if tries >= TRIES:
                self._give_up(failed_at, f"{tries} tries; the last time: {found.said}")
            await asyncio.sleep(min(max(wait, found.rest), LONGEST_WAIT_SECONDS))
            wait *= 2
        return found

    def _give_up(self, failed_at: float, tried: str) -> None:
        """Give up a question that failed first at that time, or the teacher.

        Neither where it may merely be away: nothing that was asked since was answered, and that is
        not long ago.
        """
        message = f"{self.model} did not answer in {tried}"
        if self._answered_from > failed_at:
            raise TeacherFailed(message)
        if not self._is_there or time.monotonic() - failed_at > PATIENCE_SECONDS:
            self._gone = message
            raise TeacherFailed(message)

    async def _tried(self, body: dict[str, Any]) -> Answer | _Fault:
        asked_at = time.monotonic()
        try:
            response, content = await self._posted(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _Fault(f"{type(error).__name__}: {error}")
        except TimeoutError:
            return _Fault(f"nothing whole in {self._seconds:g} seconds")
        self._is_there = True
        if response.status_code in AGAIN:
            return _Fault(f"status {response.status_code}", _retry_after(response))
        if not response.is_success:
            said = f"{response.status_code}, {refusal_in(content)}".removesuffix(", ")
            raise TeacherFailed(f"{self.model} refused: {said}")
        answer = said_in(content)
        if answer is None:
            return _Fault("an answer that is none of OpenAI's")
        self._answered_from = max(self._answered_from, asked_at)
        return answer

    async def _posted(self, body: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        """A response and its content, which is cut where it is longer than any answer may be."""
        posted = self._http.stream("POST", "chat/completions", json=body)
        async with asyncio.timeout(self._seconds), posted as response:
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    break
            return response, bytes(content)


def _base(url: str) -> str:
    try:
        TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        message = f"{url!r} is no teacher's address, write it like https://host/v1: {why}"
        raise TeacherFailed(message) from None
    return url.rstrip("/") + "/"


def _headers(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key.isascii() or not key.isprintable():
        raise TeacherFailed("the key for the teacher is none: it is of ASCII, in one line")
    return {"authorization": f"Bearer {key}"}


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
