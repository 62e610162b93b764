"""Preference pairs: two answers to one request, of which one is wanted rather than the other."""

from pydantic import BaseModel, ConfigDict, model_validator

from specialists.training.data import Message, Reading, Row, first_value, read_as, usable
from specialists.training.formats import as_pair, is_pair


class Pair(BaseModel):
    """Two chats that differ in their last answer; that of `preferred` is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preferred: Row
    refused: Row

    @model_validator(mode="after")
    def _differs_in_the_answer(self) -> "Pair":
        if self.preferred.request != self.refused.request:
            raise ValueError("both answers must be to the same request")
        if self.preferred.answer == self.refused.answer:
            raise ValueError("both answers are the same, so that neither is preferred")
        return self

    @property
    def request(self) -> tuple[Message, ...]:
        """What both answer."""
        return self.preferred.request

    @property
    def first_request(self) -> str:
        """The first user message."""
        return self.preferred.first_request

    @property
    def routes(self) -> bool:
        """Whether its request may show a router what the specialist is asked."""
        return self.preferred.routes

    @property
    def claim(self) -> tuple[object, object]:
        """What it is about, and what it says of that."""
        answers = frozenset((self.preferred.answer, self.refused.answer))
        return (self.request, self.preferred.tools, answers), self.preferred.answer


def are_pairs(content: bytes) -> bool:
    """Whether the first row of a file is a preference pair; False where that cannot be read."""
    return is_pair(first_value(content))


def read_pairs(content: bytes, name: str) -> Reading[Pair]:
    """The pairs of a file, row by row: what can be used, and what cannot.

    Raises:
        TrainingDataError: it is no text, or empty.
    """
    return read_as(Pair, as_pair, content, name)


def pairs_of(content: bytes, name: str) -> list[Pair]:
    """The pairs of a file of JSON lines, or of one JSON array.

    Raises:
        TrainingDataError: it is empty, or pairs cannot be used; it names all of them.
    """
    return usable(read_pairs(content, name), name)
