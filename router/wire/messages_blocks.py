"""The blocks of a conversation in the Messages API: texts, calls of tools, their results."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from router.wire.base import Body, Text, bounded
from router.wire.chat import MAX_PARTS, TEXT_OR_PARTS, ChatMessage, joined
from router.wire.tools import Call, CalledFunction, FunctionName, Replayed


class TextBlock(Body):
    """What was said."""

    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "citations"})

    type: Literal["text"]
    text: Text


Texts = Annotated[list[TextBlock], Field(fail_fast=True), bounded(MAX_PARTS, "blocks")]
TextOrTexts = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[Texts, Tag("(parts)")],
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
    """What another server's model thought before it answered; it is left out."""

    type: Literal["thinking", "redacted_thinking"]


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
    Annotated[Text, Tag("(text)")] | Annotated[Blocks, Tag("(parts)")],
    TEXT_OR_PARTS,
]
