"""Personas: as whom a specialist speaks, for those who show it to people."""

from pydantic import BaseModel, ConfigDict, Field

from registry.readable import Example, Line, Long, Paragraph


class Spoken(BaseModel):
    """An answer as this persona would give it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: Example
    answer: Example


class Persona(BaseModel):
    """As whom a specialist speaks.

    Attributes:
        name: whose voice it is.
        about: who that is.
        greeting: what it says before anybody asks.
        starters: requests that somebody who does not know what to ask may begin with.
        disclosure: that it is an AI, and whose.
        avoids: topics of which it does not speak.
        no_answer: what it says where it has no answer.
        voice: examples of how it speaks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line | None = None
    about: Long | None = None
    greeting: Paragraph | None = None
    starters: tuple[Line, ...] = Field(default=(), max_length=16)
    disclosure: Paragraph | None = None
    avoids: tuple[Line, ...] = Field(default=(), max_length=64)
    no_answer: Paragraph | None = None
    voice: tuple[Spoken, ...] = Field(default=(), max_length=16)
