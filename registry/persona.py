"""Personas: as whom a specialist speaks, for those who show it to people."""

from pydantic import BaseModel, ConfigDict, Field

from registry.readable import Line, Paragraph


class Persona(BaseModel):
    """As whom a specialist speaks.

    Attributes:
        name: whose voice it is.
        greeting: what it says before anybody asks.
        starters: requests that somebody who does not know what to ask may begin with.
        disclosure: that it is an AI, and whose.
        avoids: topics of which it does not speak.
        no_answer: what it says where it has no answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line | None = None
    greeting: Paragraph | None = None
    starters: tuple[Line, ...] = Field(default=(), max_length=16)
    disclosure: Paragraph | None = None
    avoids: tuple[Line, ...] = Field(default=(), max_length=64)
    no_answer: Paragraph | None = None
