"""The items of a conversation in the Responses API: messages, calls of functions, their results."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from router.wire.base import Body, Text, bounded
from router.wire.chat import MAX_MESSAGES, MAX_PARTS, TEXT_OR_PARTS, ChatMessage, joined
from router.wire.tools import Call, CalledFunction, Replayed


class Part(Body):
    """A piece of a message: what was asked, or what was answered."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "image_url": (),
        "file_id": (),
        "file_data": (),
        "file_url": (),
    }
    ignored: ClassVar[frozenset[str]] = frozenset({"annotations", "logprobs", "detail"})

    type: Literal["input_text", "output_text", "text"]
    text: str


Parts = Annotated[list[Part], Field(fail_fast=True), bounded(MAX_PARTS, "parts")]
Content = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[Parts, Tag("(parts)")],
    TEXT_OR_PARTS,
]


class Turn(Body):
    """A message; answers of this API can be sent back as they came."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase"})

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @property
    def turn(self) -> ChatMessage:
        """The same in a chat."""
        return ChatMessage(role=self.role, content=joined(self.content))


class FunctionCall(CalledFunction):
    """A call that an answer made, as it came."""

    type: Literal["function_call"]
    call_id: Text

    @property
    def turn(self) -> ChatMessage:
        """The turn of the assistant's that makes it."""
        function = CalledFunction(name=self.name, arguments=self.arguments)
        return ChatMessage(role="assistant", tool_calls=[Call(id=self.call_id, function=function)])


class FunctionResult(Body):
    """What a call came to."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status"})

    type: Literal["function_call_output"]
    call_id: Text
    output: Content

    @property
    def turn(self) -> ChatMessage:
        """The same in a chat."""
        return ChatMessage(role="tool", tool_call_id=self.call_id, content=joined(self.output))


class ReasoningText(Body):
    """A piece of what was thought."""

    type: Literal["reasoning_text"]
    text: str


class Reasoning(Replayed):
    """What was thought before what comes after it, as it came."""

    type: Literal["reasoning"]
    content: Annotated[list[ReasoningText], bounded(MAX_PARTS, "parts")] = Field(
        default_factory=list
    )

    @property
    def turn(self) -> ChatMessage:
        """The assistant's, of which nothing is said yet."""
        return ChatMessage(role="assistant", reasoning_content=joined(self.content))


Item = Turn | FunctionCall | FunctionResult | Reasoning
KINDS = ("message", "function_call", "function_call_output", "reasoning")


def _kind(value: object) -> str | None:
    """What an item is; one that says nothing of that is a message, and so is what is none."""
    kind = value.get("type") if isinstance(value, dict) else None
    return f"({kind or KINDS[0]})" if kind is None or kind in KINDS else None


AnyItem = Annotated[
    Annotated[Turn, Tag("(message)")]
    | Annotated[FunctionCall, Tag("(function_call)")]
    | Annotated[FunctionResult, Tag("(function_call_output)")]
    | Annotated[Reasoning, Tag("(reasoning)")],
    Discriminator(
        _kind,
        custom_error_type="invalid_value",
        custom_error_message=f"must be of a type that is served: {', '.join(KINDS)}",
    ),
]


def _as_items(value: object) -> object:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


Items = Annotated[
    list[AnyItem],
    Field(min_length=1, fail_fast=True),
    bounded(MAX_MESSAGES, "items"),
    BeforeValidator(_as_items),
]


def unasked(items: Sequence[Item], called: Collection[str] = ()) -> int | None:
    """Where the first result stands that is of no call before it; None where there is none."""
    known = set(called)
    for at, item in enumerate(items):
        if isinstance(item, FunctionCall):
            known.add(item.call_id)
        elif isinstance(item, FunctionResult) and item.call_id not in known:
            return at
    return None


def items_of(turn: ChatMessage) -> list[dict[str, Any]]:
    """The items that a turn of a chat is, as they are sent."""
    if turn.role == "tool":
        return [{"type": "function_call_output", "call_id": turn.tool_call_id, "output": turn.text}]
    part = output_part(turn.text) if turn.role == "assistant" else input_part(turn.text)
    thought = [reasoning_item(turn.reasoning_content)] if turn.reasoning_content else []
    said = {"type": "message", "role": turn.role, "content": [part]}
    calls = [
        {"type": "function_call", "call_id": call.id, **call.function.model_dump()}
        for call in turn.tool_calls
    ]
    return [*thought, *calls] if calls and not turn.text else [*thought, said, *calls]


def reasoning_item(thoughts: str) -> dict[str, Any]:
    """What was thought, as an item."""
    return {"type": "reasoning", "summary": [], "content": [reasoning_part(thoughts)]}


def reasoning_part(thoughts: str) -> dict[str, Any]:
    """What was thought."""
    return {"type": "reasoning_text", "text": thoughts}


def input_part(text: str) -> dict[str, Any]:
    """A message's text that was asked."""
    return {"type": "input_text", "text": text}


def output_part(text: str) -> dict[str, Any]:
    """A message's text that was answered."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def turns(items: Sequence[Item]) -> list[ChatMessage]:
    """The items as turns of a chat: what an assistant thinks, says and calls at once is one.

    Thoughts that came to nothing are left out.
    """
    made: list[ChatMessage] = []
    for item in items:
        turn, last = item.turn, made[-1] if made else None
        if last and last.role == "assistant" and _goes_on(last, item):
            calls = [*last.tool_calls, *turn.tool_calls]
            made[-1] = last.model_copy(
                update={"tool_calls": calls, "content": last.content or turn.content}
            )
        else:
            made.append(turn)
    return [turn for turn in made if turn.role != "assistant" or turn.text or turn.tool_calls]


def _goes_on(last: ChatMessage, item: Item) -> bool:
    """Whether an item belongs to an assistant's turn that has begun."""
    is_thought = last.reasoning_content and not last.text and not last.tool_calls
    is_said = isinstance(item, Turn) and item.role == "assistant"
    return isinstance(item, FunctionCall) or bool(is_thought and is_said)
