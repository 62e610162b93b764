"""Training data: chat-format rows, one JSON object per line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from registry.plain_words import in_words
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class Row(BaseModel):
    """One chat whose assistant turns are to be learnt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: tuple[Message, ...]

    @model_validator(mode="after")
    def _ends_with_an_answer(self) -> "Row":
        if not self.messages or self.messages[-1].role != "assistant":
            raise ValueError("the last message must be the assistant's")
        if next(turn.role for turn in self.messages if turn.role != "system") != "user":
            raise ValueError("the first message, or the one after the system's, must be the user's")
        return self

    @property
    def request(self) -> tuple[Message, ...]:
        """The chat up to its last answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[-1].content

    @property
    def first_request(self) -> str:
        """The first user message: what a router would see of this chat."""
        return next((turn.content for turn in self.messages if turn.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Example:
    """A row as tokens.

    Attributes:
        tokens: of the whole chat.
        learnt: for each token, whether the assistant wrote it.
    """

    tokens: list[int]
    learnt: list[bool]


def read_rows(file: Path) -> list[Row]:
    """Read a JSONL file of rows.

    Raises:
        TrainingDataError: the file cannot be read, is empty, or a line is not a row.
    """
    try:
        # Not splitlines, which also cuts at separators that JSON strings may hold.
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{file} cannot be read as UTF-8 text: {error}") from error
    rows = [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise TrainingDataError(f"{file} has no rows")
    return rows


def encode(row: Row, tokenizer: Tokenizer, limit: int) -> Example | None:
    """A row as an example; None when it is longer than `limit` tokens.

    The prompt is tokenised as it is when it is served, and each answer by itself behind it: over
    the border between them no token may merge, since none does when the base answers.
    """
    tokens: list[int] = []
    learnt: list[bool] = []
    read = ""
    for turn, message in enumerate(row.messages):
        if message.role == "assistant":
            asked = _rest(tokenizer.render_chat(row.messages[:turn]), read)
            whole = tokenizer.render_chat(row.messages[: turn + 1], answer=False)
            prompt = tokenizer.encode_part(asked)
            answer = tokenizer.encode_part(_rest(whole, read + asked))
            # What the template writes after the end of the turn is not the assistant's.
            end = _end_of_turn(answer, tokenizer)
            tokens += prompt + answer
            learnt += [False] * len(prompt) + [True] * end + [False] * (len(answer) - end)
            read = whole
    return Example(tokens, learnt) if len(tokens) <= limit else None


def _rest(text: str, read: str) -> str:
    """What a template wrote after what it wrote before.

    Raises:
        TrainingDataError: it rewrites what came before.
    """
    if not text.startswith(read):
        raise TrainingDataError(
            "the base's chat template changes earlier turns when a chat goes on, so that its "
            "answers cannot be told apart: train on chats of one answer, or with another base"
        )
    return text[len(read) :]


def _end_of_turn(tokens: list[int], tokenizer: Tokenizer) -> int:
    for at in range(len(tokens) - 1, -1, -1):
        if tokens[at] in tokenizer.eos:
            return at + 1
    return len(tokens)


def _row(file: Path, number: int, line: str) -> Row:
    try:
        return Row.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "row"
        raise TrainingDataError(f"{file}, line {number}: {where} {in_words(first)}") from error
    except ValueError as error:
        raise TrainingDataError(f"{file}, line {number} is not JSON: {error}") from error
