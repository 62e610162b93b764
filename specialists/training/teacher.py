"""Teachers: models behind OpenAI's API that are asked within a budget, and nothing twice.

What a teacher answered is written down at once, so that whoever is cut off goes on where they were.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import httpx
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from specialists.errors import BudgetSpent, TeacherFailed

TRIES = 5
FIRST_WAIT_SECONDS = 0.5
"""After a failure; twice as long after each further one."""
LONGEST_WAIT_SECONDS = 60.0
AT_ONCE = 8
MOST_BYTES = 8 * 1024 * 1024
"""Of one answer; what is longer is none."""
LONGEST_REFUSAL = 500
"""Characters of a teacher's own words that are passed on."""
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses after which the same question may be answered."""

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a teacher said.

    Attributes:
        text: the answer.
        finished: whether it came to its end, and was not cut at the most tokens.
        tokens: of prompt and answer.
    """

    text: str
    finished: bool
    tokens: int


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


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    total_tokens: NonNegativeInt | None = None


class _Completion(BaseModel):
    """What of OpenAI's response is looked at."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Error(BaseModel):
    message: str


class _Refusal(BaseModel):
    error: _Error


class Notebook:
    """Answers by their questions, in a file of JSON lines; one that was cut short is left out.

    Without a file they are kept in memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Answer] = {}
        written = file.read_text() if file is not None and file.is_file() else ""
        self._is_cut = bool(written) and not written.endswith("\n")
        for line in written.splitlines():
            try:
                noted = json.loads(line)
                question = noted.pop("question")
                self._known[question] = Answer(**noted)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    @property
    def tokens(self) -> int:
        """Of all that was ever asked."""
        return sum(answer.tokens for answer in self._known.values())

    def find(self, question: str) -> Answer | None:
        """What was answered before."""
        return self._known.get(question)

    def note(self, question: str, answer: Answer) -> None:
        """Keep an answer."""
        self._known[question] = answer
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"question": question, **asdict(answer)})
        with self._file.open("a") as file:
            file.write(("\n" if self._is_cut else "") + line + "\n")
        self._is_cut = False


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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Ask at a URL.

        Args:
            url: OpenAI's base URL, such as `https://host/v1`.
            model: whom to ask.
            notebook: what was answered before.
            key: what is sent as the API key.
            budget: tokens of prompts and answers, those in the notebook among them; None for any.
            seconds: that one answer may take, from the question to its last byte.
            transport: for tests.
        """
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=10.0),
            transport=transport,
        )
        self.model = model
        self._seconds = seconds
        self._notebook = notebook
        self._budget = budget
        self._gate = asyncio.Semaphore(AT_ONCE)

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
            TeacherFailed: it did not answer, however often it was asked.
        """
        body = {"model": self.model, "messages": list(messages), **sampling}
        question = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        async with self._gate:
            known = self._notebook.find(question)
            if known is not None:
                return known
            if self._budget is not None and self.spent >= self._budget:
                raise BudgetSpent(f"the budget of {self._budget:,} tokens is spent")
            answer = await self._answered(body)
            self._notebook.note(question, answer)
            return answer

    async def _answered(self, body: dict[str, Any]) -> Answer:
        wait, said = FIRST_WAIT_SECONDS, ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(min(wait, LONGEST_WAIT_SECONDS))
                wait *= 2
            try:
                response, content = await self._posted(body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                said = f"{type(error).__name__}: {error}"
                continue
            except TimeoutError:
                said = f"nothing whole in {self._seconds:g} seconds"
                continue
            if response.status_code in AGAIN:
                said = f"status {response.status_code}"
                wait = max(wait, _retry_after(response))
                continue
            if not response.is_success:
                raise TeacherFailed(f"{self.model} refused: {_refusal(response, content)}")
            answer = _read(content)
            if answer is not None:
                return answer
            said = "an answer that is none of OpenAI's"
        message = f"{self.model} did not answer in {TRIES} tries; the last time: {said}"
        raise TeacherFailed(message)

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


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0


def _refusal(response: httpx.Response, content: bytes) -> str:
    try:
        message = _Refusal.model_validate_json(content).error.message
    except ValidationError:
        return str(response.status_code)
    return f"{response.status_code}, {shorten(message, LONGEST_REFUSAL)}"


def _read(content: bytes) -> Answer | None:
    """The answer in a response; None for one of another form."""
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError:
        return None
    choice, usage = completion.choices[0], completion.usage or _Usage()
    text = choice.message.content
    tokens = usage.total_tokens or len(text) // 3
    return Answer(text, choice.finish_reason == "stop", tokens)
