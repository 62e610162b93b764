"""A conversation in the Messages API: turns of blocks: texts, calls of tools, their results."""

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from router.wire.base import Body, Text, bounded, refused
from router.wire.chat import MAX_MESSAGES, MAX_PARTS, TEXT_OR_PARTS, ChatMessage, joined
from router.wire.tools import Call, CalledFunction, FunctionName, Replayed


class TextBlock(Body):
    """What was said."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations"})

    type: Literal["text"]
    text: str


Texts = Annotated[list[TextBlock], Field(fail_fast=True), bounded(MAX_PARTS, "blocks")]
TextOrTexts = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[Texts, Tag("(parts)")],
    TEXT_OR_PARTS,
]


class ToolUse(Replayed):
    """A call that an assistant made, as it came."""

    type: Literal["tool_use"]
    id: Text
    name: FunctionName
    input: dict[str, Any] = Field(default_factory=dict)

    @property
    def call(self) -> Call:
        """The same in a chat."""
        arguments = json.dumps(self.input, ensure_ascii=False)
        return Call(id=self.id, function=CalledFunction(name=self.name, arguments=arguments))


class ToolResult(Body):
    """What a call came to."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "is_error", "toolset_name"})

    type: Literal["tool_result"]
    tool_use_id: Text
    content: TextOrTexts = ""

    @property
    def turn(self) -> ChatMessage:
        """The same in a chat."""
        text = joined(self.content)
        return ChatMessage(role="tool", tool_call_id=self.tool_use_id, content=text)


class Thought(Replayed):
    """What was thought before what comes after it; left out where it is not to be read."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: str = ""


Block = TextBlock | ToolUse | ToolResult | Thought
_TAGS = {
    "text": "(text)",
    "tool_use": "(call)",
    "tool_result": "(result)",
    "thinking": "(thought)",
    "redacted_thinking": "(thought)",
}


def _tag(value: object) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return _TAGS.get(kind) if isinstance(kind, str) else None


AnyBlock = Annotated[
    Annotated[TextBlock, Tag("(text)")]
    | Annotated[ToolUse, Tag("(call)")]
    | Annotated[ToolResult, Tag("(result)")]
    | Annotated[Thought, Tag("(thought)")],
    Discriminator(
        _tag,
        custom_error_type="invalid_value",
        custom_error_message="must be a block that is served: text, tool_use or tool_result",
    ),
]
Blocks = Annotated[
    list[AnyBlock], Field(min_length=1, fail_fast=True), bounded(MAX_PARTS, "blocks")
]
Content = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[Blocks, Tag("(parts)")],
    TEXT_OR_PARTS,
]
OF_ROLE: dict[type[Body], str] = {ToolUse: "assistant", ToolResult: "user", Thought: "assistant"}
"""Whose messages a kind of block is for."""


class Turn(Body):
    """A message; answers of this API can be sent back as they came."""

    role: Literal["system", "user", "assistant"]
    content: Content

    @model_validator(mode="after")
    def _says_what_it_may(self) -> Self:
        for at, block in enumerate(self.blocks):
            role = OF_ROLE.get(type(block))
            if role not in (None, self.role):
                message = f"is for messages of the role '{role}'"
                raise refused("invalid_value", f"content[{at}].type", message)
        return self

    @property
    def blocks(self) -> list[Any]:
        """What it consists of, if it is not a text alone."""
        return [] if isinstance(self.content, str) else self.content

    @property
    def texts(self) -> str:
        """All that is said in it."""
        if isinstance(self.content, str):
            return self.content
        return joined([block for block in self.content if isinstance(block, TextBlock)])

    @property
    def thoughts(self) -> str:
        """What was thought before it was said."""
        return "".join(block.thinking for block in self.blocks if isinstance(block, Thought))

    @property
    def calls(self) -> list[ToolUse]:
        """The calls that it makes."""
        return [block for block in self.blocks if isinstance(block, ToolUse)]

    @property
    def chat(self) -> list[ChatMessage]:
        """The same in a chat: the results of calls are turns of their own there."""
        results = [block.turn for block in self.blocks if isinstance(block, ToolResult)]
        text = self.texts
        if results and not text:
            return results
        calls = [call.call for call in self.calls]
        said = ChatMessage(
            role=self.role, content=text, tool_calls=calls, reasoning_content=self.thoughts
        )
        return [*results, said]


Turns = Annotated[
    list[Turn], Field(min_length=1, fail_fast=True), bounded(MAX_MESSAGES, "messages")
]
