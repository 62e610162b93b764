"""The field `response_format`: what an answer must look like."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from router.wire.base import Body, Text, refused

ANY_OBJECT = '{"type": "object"}'


class JsonSchema(Body):
    """A named schema; it is always held to strictly."""

    name: Annotated[Text, Field(min_length=1, max_length=64)]
    description: Text | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")] = Field(default_factory=dict)
    strict: bool | None = None


class ResponseFormat(Body):
    """Text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            wrong = "is missing; add it" if self.json_schema is None else "is of another type"
            raise refused("invalid_value", "json_schema", wrong)
        return self

    @property
    def schema_text(self) -> str | None:
        """The schema; None leaves the answer free."""
        return schema_text(self.type, self.json_schema.schema_ if self.json_schema else None)


def schema_text(kind: str, schema: Mapping[str, Any] | None) -> str | None:
    """The schema of an answer of this type, as text; None leaves the answer free."""
    if kind == "json_schema":
        return json.dumps(schema or {})
    return ANY_OBJECT if kind == "json_object" else None
