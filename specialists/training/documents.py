"""Plain documents: texts that are learnt as they stand, without anybody asking."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from specialists.errors import TrainingDataError
from specialists.training.data import Reading, first_value, read_as, text_of
from specialists.training.formats import NotAChat, has_form

SUFFIXES = (".txt", ".md", ".markdown")
"""Of files that are a document each, and no rows."""


class Document(BaseModel):
    """A text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Annotated[str, Field(min_length=1)]

    @property
    def request(self) -> tuple[str, ...]:
        """By which it is told from others."""
        return (self.text,)

    @property
    def first_request(self) -> str:
        """Nobody asks for it."""
        return ""

    @property
    def routes(self) -> bool:
        """It does not show what a specialist is asked."""
        return False

    @property
    def claim(self) -> tuple[object, object]:
        """It contradicts no other."""
        return self.text, self.text


def are_documents(content: bytes, name: str) -> bool:
    """Whether a file is a document, or has rows that are documents, by its first one."""
    if PurePath(name).suffix.lower() in SUFFIXES:
        return True
    value = first_value(content)
    return isinstance(value, Mapping) and "text" in value and not has_form(value)


def read_documents(content: bytes, name: str) -> Reading[Document]:
    """The documents of a file, row by row: what can be used, and what cannot.

    Raises:
        TrainingDataError: it is no text, or empty.
    """
    if PurePath(name).suffix.lower() not in SUFFIXES:
        return read_as(Document, _fields, content, name)
    text = text_of(content, name).strip()
    if not text:
        raise TrainingDataError(f"{name} has no text")
    return Reading([("the file", Document(text=text))], [])


def _fields(row: object) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise NotAChat("is no object")
    if not isinstance(row.get("text"), str) or not row["text"].strip():
        raise NotAChat("'text' must be a text that is not blank")
    return {"text": row["text"]}
