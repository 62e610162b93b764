"""The field `structured_outputs`: what an answer must look like, asked for as vLLM's clients do."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError, from_json

from router.engine import Rules
from router.wire.base import Body, Text, bounded
from router.wire.response_format import ANY_OBJECT

MAX_CHOICES = 1000
MAX_CHARACTERS = 64 * 1024
"""Of a schema's text: more is not compiled, and need not be read."""
WAYS = ("json", "json_object", "regex", "choice", "grammar")


def _read(value: object) -> object:
    """A schema may come as its text."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_CHARACTERS:
        message = f"has {len(value):,} characters; at most {MAX_CHARACTERS:,} are taken"
        raise PydanticCustomError("invalid_value", message)
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError as error:
        message = f"is not valid JSON: {error}".replace("{", "(").replace("}", ")")
        raise PydanticCustomError("invalid_value", message) from error


Some = Annotated[Text, Field(min_length=1)]
Schema = Annotated[dict[str, Any], BeforeValidator(_read)]
Choices = Annotated[list[Some], bounded(MAX_CHOICES, "choices"), Field(min_length=1)]


class StructuredOutputs(Body):
    """One of the ways in which an answer can be held to a form, token by token."""

    # JSON has no free white space here, whatever is asked.
    ignored: ClassVar[frozenset[str]] = frozenset({"disable_any_whitespace", "disable_fallback"})
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "disable_additional_properties": (False,),
        "structural_tag": (),
        "whitespace_pattern": (),
    }

    json_: Schema | None = Field(
        None, alias="json", description="JSON of this schema, which may be sent as a text too."
    )
    json_object: bool = Field(False, description="Any JSON object.")
    regex: Some | None = Field(
        None, description="A text that this regular expression (in Rust's syntax) matches whole."
    )
    choice: Choices | None = Field(None, description="One of these texts.")
    grammar: Some | None = Field(
        None, description="What this grammar derives, in llguidance's Lark or llama.cpp's GBNF."
    )

    @model_validator(mode="after")
    def _asks_for_one(self) -> Self:
        asked = [self.json_, self.json_object or None, self.regex, self.choice, self.grammar]
        if sum(each is not None for each in asked) != 1:
            message = f"must be one of {', '.join(WAYS)}; send one"
            raise PydanticCustomError("invalid_value", message)
        return self

    @property
    def schema_text(self) -> str | None:
        """The schema of an answer in JSON; None where it is held to `rules`."""
        if self.json_object:
            return ANY_OBJECT
        return None if self.json_ is None else json.dumps(self.json_)

    @property
    def rules(self) -> Rules | None:
        """What an answer is held to that is not JSON of a schema."""
        if self.regex is not None:
            return Rules("regex", self.regex)
        if self.choice is not None:
            return Rules("choice", json.dumps(self.choice))
        return None if self.grammar is None else Rules("grammar", self.grammar)
