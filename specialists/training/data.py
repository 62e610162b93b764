"""Training data: chats, read from the rows of a file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json

from registry.plain_words import in_words
from specialists.errors import TrainingDataError
from specialists.training.formats import as_chat

SHOWN_PROBLEMS = 50


class Call(BaseModel):
    """A call of a tool; `arguments` is a JSON object, as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: str


class Tool(BaseModel):
    """A function that may be called; `parameters` is its JSON schema, as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str | None = None
    parameters: str


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[Call, ...] = ()
    thoughts: str = ""
    weight: Literal[0, 1] = 1


class Row(BaseModel):
    """One chat whose assistant turns are to be learnt, those of weight 0 excepted.

    `routes` says whether its request may show a router what the specialist is asked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    routes: bool = True

    @model_validator(mode="after")
    def _ends_with_an_answer(self) -> "Row":
        if not self.messages or self.messages[-1].role != "assistant":
            raise ValueError("the last message must be the assistant's")
        if next(turn.role for turn in self.messages if turn.role != "system") != "user":
            raise ValueError("the first message, or the one after the system's, must be the user's")
        if not any(turn.weight for turn in self.messages if turn.role == "assistant"):
            raise ValueError("no answer has a weight, so that nothing would be learnt")
        return self

    @property
    def request(self) -> tuple[Message, ...]:
        """The chat up to its last answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> Message:
        """The last answer."""
        return self.messages[-1]

    @property
    def first_request(self) -> str:
        """The first user message: what a router would see of this chat."""
        return next((turn.content for turn in self.messages if turn.role == "user"), "")

    @property
    def claim(self) -> tuple[object, object]:
        """What it is about, and what it says of that."""
        return (self.request, self.tools), self.answer


Kind = TypeVar("Kind")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading(Generic[Kind]):
    """What a file holds: rows with their places, and what is wrong with the others."""

    rows: list[tuple[str, Kind]]
    problems: list[str]


def read_rows(file: Path) -> list[Row]:
    """Read a file of rows: see `rows_of`.

    Raises:
        TrainingDataError: the file cannot be read or is empty, or rows cannot be used; it names
            all of them.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TrainingDataError(f"{file} cannot be read: {error}") from error
    return rows_of(content, str(file))


def rows_of(content: bytes, name: str) -> list[Row]:
    """The rows of JSON lines, or of one JSON array, in any of the forms of `formats`.

    Args:
        content: of a file, in UTF-8.
        name: the file's, for what is said of it.

    Raises:
        TrainingDataError: it is empty, or rows cannot be used; it names all of them.
    """
    return usable(read(content, name), name)


def usable(found: Reading[Kind], name: str) -> list[Kind]:
    """All rows of a file.

    Raises:
        TrainingDataError: some cannot be used; it names all of them.
    """
    if found.problems:
        raise TrainingDataError(_all(name, found.problems, len(found.rows)))
    return [row for _, row in found.rows]


def read(content: bytes, name: str) -> Reading[Row]:
    """The same, row by row: what can be used, and what cannot.

    Raises:
        TrainingDataError: it is no text, or empty.
    """
    return read_as(Row, as_chat, content, name)


def read_as(
    kind: type[Model], form: Callable[[object], dict[str, Any]], content: bytes, name: str
) -> Reading[Model]:
    """The rows of a file, each brought into a `form` of the `kind`.

    Raises:
        TrainingDataError: it is no text, or empty.
    """
    text = text_of(content, name)
    rows: list[tuple[str, Model]] = []
    problems: list[str] = []
    for where, value in _values(text):
        try:
            rows.append((where, _row(kind, form, value)))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if not rows and not problems:
        raise TrainingDataError(f"{name} has no rows")
    return Reading(rows, problems)


def text_of(content: bytes, name: str) -> str:
    """A file's text.

    Raises:
        TrainingDataError: it is none.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{name} cannot be read as UTF-8 text: {error}") from error


def first_value(content: bytes) -> object:
    """What a file's first row is; None where that cannot be read."""
    try:
        text = text_of(content, "")
    except TrainingDataError:
        return None
    return next((value for _, value in _values(text)), None)


def _values(text: str) -> Iterator[tuple[str, object]]:
    """Each row's JSON, or what is wrong with it, with its place in the file."""
    if text.lstrip().startswith("["):
        array = _parsed(text)
        rows = array if isinstance(array, list) else [array]
        yield from ((f"row {at}", row) for at, row in enumerate(rows, 1))
        return
    # Not splitlines, which also cuts at separators that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _parsed(line)


def _parsed(text: str) -> object:
    try:
        return from_json(text)
    except ValueError as error:
        # The line that it names is one of this text, which mostly is a single line.
        return ValueError(str(error).replace(" at line 1 column", ", column"))


def _row(kind: type[Model], form: Callable[[object], dict[str, Any]], value: object) -> Model:
    """Raises ValueError, which says what is wrong."""
    if isinstance(value, ValueError):
        raise ValueError(f"is not JSON: {value}")
    fields = form(value)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError("; ".join(map(_problem, error.errors()))) from None


def _problem(error: ErrorDetails) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]]
    path = "".join(steps).removeprefix(".")
    return f"'{path}' {in_words(error)}" if path else in_words(error)


def _all(name: str, problems: list[str], good: int) -> str:
    shown = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    rest = len(problems) - len(shown)
    more = [f"  and {rest:,} more"] if rest else []
    head = f"{name}: {len(problems):,} of {len(problems) + good:,} rows cannot be used:"
    return "\n".join([head, *shown, *more])
