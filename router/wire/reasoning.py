"""How much is to be thought before an answer: as much as the base does by itself, or nothing."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from router.wire.base import Body


def _none_alone(value: object) -> object:
    if value not in (None, "none"):
        message = "is supported by this server as 'none' only; remove it"
        raise PydanticCustomError("unsupported_parameter", message)
    return value


Effort = Annotated[
    Literal["none"],
    BeforeValidator(_none_alone),
    Field(description="Whether to answer without a thought before it."),
]


class Reasoning(Body):
    """The field `reasoning`."""

    ignored: ClassVar[frozenset[str]] = frozenset({"summary", "generate_summary"})

    effort: Effort | None = None
