"""Tools and their calls in OpenAI's format: what may be called, and what was."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import from_json

from router.engine import Tool, ToolCall, ToolUse
from router.wire.base import Body, Text, bounded, refused

MAX_TOOLS = 128
MAX_CALLS = 128
NO_ARGUMENTS = '{"type": "object", "properties": {}, "additionalProperties": false}'

FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Function(Body):
    """A function that may be called; its arguments are always held to the schema."""

    schema_field: ClassVar[str] = "parameters"

    name: FunctionName
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _takes_an_object(self) -> Self:
        if self.parameters and self.parameters.get("type", "object") != "object":
            raise refused("invalid_value", self.schema_field, "must be a schema of an object")
        return self

    @property
    def tool(self) -> Tool:
        """The function as engines take it."""
        if not self.parameters:
            return Tool(self.name, NO_ARGUMENTS, self.description)
        return Tool(self.name, json.dumps(self.parameters | {"type": "object"}), self.description)


class FlatFunction(Function):
    """The same as a tool of the Responses API."""

    type: Literal["function"]

    @model_validator(mode="before")
    @classmethod
    def _is_a_function(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") != "function":
            raise refused("invalid_value", "type", "must be 'function'; no other tool is served")
        return data


class FunctionTool(Body):
    """A tool; functions are the only kind."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {"custom": ()}

    type: Literal["function"]
    function: Function


Tools = Annotated[list[FunctionTool], Field(fail_fast=True), bounded(MAX_TOOLS, "tools")]
FlatTools = Annotated[list[FlatFunction], Field(fail_fast=True), bounded(MAX_TOOLS, "tools")]


class Named(Body):
    """A function by its name."""

    name: FunctionName


class FlatNamed(Named):
    """The function that is to be called, as the Responses API names it."""

    type: Literal["function"]


class NamedTool(Body):
    """The tool that is to be called."""

    type: Literal["function"]
    function: Named

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.name


_CHOICES: dict[type, str] = {str: "(mode)", dict: "(tool)"}
Mode = Literal["none", "auto", "required"]
_MODE_OR_NAME = Discriminator(
    lambda value: _CHOICES.get(type(value)),
    custom_error_type="invalid_type",
    custom_error_message="must be 'none', 'auto', 'required', or name a function",
)
ToolChoice = Annotated[
    Annotated[Mode, Tag("(mode)")] | Annotated[NamedTool, Tag("(tool)")], _MODE_OR_NAME
]
FlatChoice = Annotated[
    Annotated[Mode, Tag("(mode)")] | Annotated[FlatNamed, Tag("(tool)")], _MODE_OR_NAME
]
AnyChoice = Mode | NamedTool | FlatNamed | None


def tool_use(
    functions: Sequence[Function], choice: AnyChoice, several: bool | None
) -> ToolUse | None:
    """What an answer may call; None is nothing."""
    if not functions or choice == "none":
        return None
    named = _name(choice)
    return ToolUse(
        tools=tuple(function.tool for function in functions),
        only=named,
        required=choice == "required" or named is not None,
        several=several if named is None else False,
    )


def check_choice(functions: Sequence[Function], choice: AnyChoice) -> None:
    """Refuse tools of one name, and a choice of what is not offered."""
    names = [function.name for function in functions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refused("invalid_value", "tools", f"has two functions named '{twice}'; rename one")
    named = _name(choice)
    if named is not None and named not in names:
        message = f"names '{named}', which is not among 'tools'; add it there"
        raise refused("invalid_value", "tool_choice", message)
    if choice == "required" and not functions:
        raise refused("invalid_value", "tool_choice", "needs 'tools'; add them")


def _name(choice: AnyChoice) -> str | None:
    """Of the one function that is to be called."""
    return None if choice is None or isinstance(choice, str) else choice.name


class Replayed(Body):
    """A part of a call that some server wrote, perhaps with fields of its own."""

    @classmethod
    def _ignored(cls, data: dict[str, Any]) -> Collection[str]:
        return data.keys() - cls.model_fields.keys()


class CalledFunction(Replayed):
    """The function of a call, with its arguments: a JSON object, as text."""

    name: FunctionName
    arguments: Text = ""

    @model_validator(mode="after")
    def _has_an_object(self) -> Self:
        try:
            # Unlike the standard library's it refuses what is nested too deep.
            read = from_json(self.arguments or "{}", allow_inf_nan=False)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise refused("invalid_value", "arguments", "must be a JSON object, as text")
        return self

    @property
    def call(self) -> ToolCall:
        """The call as engines take it."""
        return ToolCall(self.name, self.arguments or "{}")


class Call(Replayed):
    """A call that an assistant made."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


Calls = Annotated[list[Call], Field(fail_fast=True), bounded(MAX_CALLS, "calls")]
