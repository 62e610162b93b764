"""Answers of `POST /v1/messages`: one message, or the events by which it grows."""

from collections.abc import Iterator, Sequence

from pydantic_core import from_json

from router.answer import Choice
from router.engine import NOTHING, CallDelta, Delta, FinishReason, ToolCall, Usage
from router.wire.messages_error import in_messages
from router.wire.writer import Envelope, Json, Writer, call_id

THOUGHTS, TEXT = -2, -1
"""Blocks: what was thought, and the answer's text; calls go by their numbers."""
REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


class MessagesWriter(Writer):
    """Writes `message`, whole and as events; a stream's blocks come one after the other."""

    def __init__(self, envelope: Envelope, *, thoughts: bool = False) -> None:
        """Write an answer; with its `thoughts`, if there are any."""
        super().__init__(envelope)
        self._thoughts = thoughts
        self._choice = Choice(0)
        self._blocks = 0
        self._open: int | None = None
        self._has_begun = False

    def body(self, choices: Sequence[Choice], usage: Usage) -> Json:
        """The whole answer."""
        [choice] = choices
        text = [_text(choice.text)] if choice.text or not choice.calls else []
        calls = [
            self._call(number, call, _arguments(call)) for number, call in enumerate(choice.calls)
        ]
        thought = [_thought(choice.thoughts)] if self._thoughts and choice.thoughts else []
        return self._message([*thought, *text, *calls], usage) | _end(choice)

    def stream_delta(self, delta: Delta) -> Iterator[Json]:
        """What a delta adds; the first one begins the answer too."""
        yield from self._beginning(delta.prompt or NOTHING)
        self._choice.add(delta)
        if delta.thought and self._thoughts:
            yield from self._begin(THOUGHTS, _thought(""))
            yield self._grown({"type": "thinking_delta", "thinking": delta.thought})
        if delta.text:
            yield from self._begin(TEXT, _text(""))
            yield self._grown({"type": "text_delta", "text": delta.text})
        for piece in delta.calls:
            yield from self._called(piece)

    def stream_end(self, usage: Usage) -> Iterator[Json]:
        """The end of the last block, why the answer ended, and what it took."""
        yield from self._beginning(usage)
        if not self._choice.text and not self._choice.calls:
            yield from self._begin(TEXT, _text(""))
        yield from self._close()
        yield {"type": "message_delta", "delta": _end(self._choice), "usage": _usage(usage)}
        yield {"type": "message_stop"}

    def stream_error(self, error: Json) -> Json:
        """An error in the place of what is missing."""
        return in_messages(error)

    def name(self, data: Json) -> str | None:
        """Events go by their type."""
        return str(data["type"])

    def _beginning(self, usage: Usage) -> Iterator[Json]:
        if not self._has_begun:
            self._has_begun = True
            yield {"type": "message_start", "message": self._message([], usage)}

    def _called(self, piece: CallDelta) -> Iterator[Json]:
        call = self._choice.calls[piece.index]
        yield from self._begin(piece.index, self._call(piece.index, call, {}))
        if piece.arguments:
            yield self._grown({"type": "input_json_delta", "partial_json": piece.arguments})

    def _begin(self, which: int, block: Json) -> Iterator[Json]:
        """Begin a block, unless it is the open one."""
        if which == self._open:
            return
        yield from self._close()
        self._open = which
        yield {"type": "content_block_start", "index": self._blocks, "content_block": block}
        self._blocks += 1

    def _grown(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._blocks - 1, "delta": delta}

    def _close(self) -> Iterator[Json]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._blocks - 1}

    def _call(self, number: int, call: ToolCall, arguments: Json) -> Json:
        identity = call_id(self._envelope.id, 0, number).replace("call_", "toolu_", 1)
        return {"type": "tool_use", "id": identity, "name": call.name, "input": arguments}

    def _message(self, content: list[Json], usage: Usage) -> Json:
        return {
            "id": self._envelope.id,
            "type": "message",
            "role": "assistant",
            "model": self._envelope.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(usage),
            **self._envelope.routing,
        }


def _thought(text: str) -> Json:
    """What was thought. Nobody is to prove that it is ours, so that nothing is signed."""
    return {"type": "thinking", "thinking": text, "signature": ""}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _arguments(call: ToolCall) -> Json:
    """A call's arguments, as far as they go if the answer was cut short."""
    read = from_json(call.arguments or "{}", allow_partial=True)
    return read if isinstance(read, dict) else {}


def _end(choice: Choice) -> Json:
    """Why an answer ended; calls that stand in it are more than the text that stopped it."""
    reason = REASONS[choice.finish_reason or "stop"]
    if reason != "end_turn" or choice.stopped_by is None:
        return {"stop_reason": reason, "stop_sequence": None}
    return {"stop_reason": "stop_sequence", "stop_sequence": choice.stopped_by}


def _usage(usage: Usage) -> Json:
    """Token counts in Anthropic's names, where those that were cached count apart."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
