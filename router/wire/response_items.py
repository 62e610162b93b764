"""The items of a conversation in the Responses API: messages, calls of functions, their results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from router.engine import Message
from router.wire.base import Body, Text, bounded, refused
from router.wire.chat import MAX_MESSAGES, MAX_PARTS, TEXT_OR_PARTS, joined, message
from router.wire.tools import CalledFunction


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
    text: Text


Parts = Annotated[list[Part], Field(fail_fast=True), bounded(MAX_PARTS, "parts")]
Content = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[Parts, Tag("(parts)")],
    TEXT_OR_PARTS,
]


class Turn(Body):
    """A message; answers of this API can be sent back as they came."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase"})

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @property
    def message(self) -> Message:
        """The turn as engines take it."""
        return message(self.role, joined(self.content))


class FunctionCall(CalledFunction):
    """A call that an answer made, as it came."""

    type: Literal["function_call"]
    call_id: Text

    @property
    def message(self) -> Message:
        """The turn of the assistant's that makes it."""
        return Message("assistant", "", calls=(self.call,))


class FunctionResult(Body):
    """What a call came to."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status"})

    type: Literal["function_call_output"]
    call_id: Text
    output: Content

    @property
    def message(self) -> Message:
        """The turn as engines take it."""
        return Message("tool", joined(self.output))


Item = Turn | FunctionCall | FunctionResult
KINDS = ("message", "function_call", "function_call_output")


def _kind(value: object) -> str | None:
    """What an item is; one that says nothing of that is a message, and so is what is none."""
    kind = value.get("type") if isinstance(value, dict) else None
    return f"({kind or KINDS[0]})" if kind is None or kind in KINDS else None


AnyItem = Annotated[
    Annotated[Turn, Tag("(message)")]
    | Annotated[FunctionCall, Tag("(function_call)")]
    | Annotated[FunctionResult, Tag("(function_call_output)")],
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


def check_results(items: Sequence[Item]) -> None:
    """Refuse a result of no call before it."""
    called: set[str] = set()
    for at, item in enumerate(items):
        if isinstance(item, FunctionCall):
            called.add(item.call_id)
        elif isinstance(item, FunctionResult) and item.call_id not in called:
            said = "is the id of no call before it; send the 'function_call' too"
            raise refused("invalid_value", f"input[{at}].call_id", said)


def messages(items: Sequence[Item]) -> Iterator[Message]:
    """The conversation as engines take it: what an assistant says and calls at once is one turn."""
    turn: Message | None = None
    for item in items:
        if turn is not None and isinstance(item, FunctionCall) and turn.role == "assistant":
            turn = replace(turn, calls=(*turn.calls, *item.message.calls))
            continue
        if turn is not None:
            yield turn
        turn = item.message
    if turn is not None:
        yield turn
