"""Tools in the Messages API: what may be called, and whether it is."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from router.wire.base import Body, bounded, refused
from router.wire.tools import MAX_TOOLS, AnyChoice, FlatNamed, Function, FunctionName


class Tool(Function):
    """A tool of the client's own, the only kind that is served."""

    schema_field: ClassVar[str] = "input_schema"
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"cache_control", "eager_input_streaming", "input_examples"}
    )
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "allowed_callers": (["direct"],),
        "defer_loading": (False,),
    }

    type: Literal["custom"] = "custom"
    parameters: dict[str, Any] | None = Field(None, alias="input_schema")

    @model_validator(mode="before")
    @classmethod
    def _is_the_clients(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") not in (None, "custom"):
            message = "must be 'custom'; no tool of a server's is served"
            raise refused("invalid_value", "type", message)
        return data


Tools = Annotated[list[Tool], Field(fail_fast=True), bounded(MAX_TOOLS, "tools")]


class Choosing(Body):
    """The field `tool_choice`: whether tools are called, or which one."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool = False

    @model_validator(mode="after")
    def _names_a_tool(self) -> Self:
        if (self.type == "tool") != (self.name is not None):
            wrong = "is missing; add it" if self.name is None else "is for the type 'tool'"
            raise refused("invalid_value", "name", wrong)
        return self

    @property
    def choice(self) -> AnyChoice:
        """The same in a chat."""
        if self.name is not None:
            return FlatNamed(type="function", name=self.name)
        modes: dict[str, AnyChoice] = {"any": "required", "none": "none"}
        return modes.get(self.type, "auto")
