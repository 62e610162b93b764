"""How much is to be thought before an answer: as much as the base does by itself, or nothing."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from router.wire.base import Body


def served_only(*values: str) -> BeforeValidator:
    """Refuse other values as those of a field that is not supported."""

    def check(value: object) -> object:
        if value not in values:
            known = " or ".join(f"'{each}'" for each in values)
            message = f"is supported by this server as {known} only; change or remove it"
            raise PydanticCustomError("unsupported_parameter", message)
        return value

    return BeforeValidator(check)


Effort = Annotated[
    Literal["none"],
    served_only("none"),
    Field(description="Whether to answer without a thought before it."),
]


class Reasoning(Body):
    """The field `reasoning`."""

    ignored: ClassVar[frozenset[str]] = frozenset({"summary", "generate_summary"})

    effort: Effort | None = None
