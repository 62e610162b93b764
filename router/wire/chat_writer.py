"""Answers of `POST /v1/chat/completions`."""

from collections.abc import Iterable, Iterator

from router.answer import Choice
from router.engine import CallDelta, Delta, ToolCall
from router.logprobs import TokenLogprob, unpacked
from router.wire.base import StreamOptions
from router.wire.writer import ChoiceWriter, Envelope, Json, call_id, finite


class ChatWriter(ChoiceWriter):
    """Writes `chat.completion` and `chat.completion.chunk`."""

    body_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(
        self, envelope: Envelope, options: StreamOptions | None = None, logprobs: bool = False
    ) -> None:
        super().__init__(envelope, options)
        self._logprobs = logprobs
        self._introduced: set[int] = set()

    def _choice(self, choice: Choice) -> Json:
        return {
            "index": choice.index,
            "message": self._message(choice),
            "logprobs": self._logprobs_json(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _piece(self, delta: Delta) -> Json:
        content: Json = {"content": delta.text} if delta.text else {}
        if delta.index not in self._introduced:
            self._introduced.add(delta.index)
            said = None if (delta.calls or delta.thought) and not delta.text else delta.text
            content = {"role": "assistant", "content": said}
        if delta.thought:
            content["reasoning_content"] = delta.thought
        if delta.calls:
            calls = (self._call_piece(delta.index, piece) for piece in delta.calls)
            content["tool_calls"] = list(calls)
        return {
            "index": delta.index,
            "delta": content,
            "logprobs": self._logprobs_json(delta.logprobs),
            "finish_reason": delta.finish_reason,
        }

    def _message(self, choice: Choice) -> Json:
        message: Json = {"role": "assistant", "content": choice.text, "refusal": None}
        if choice.thoughts:
            message["reasoning_content"] = choice.thoughts
        if not choice.calls:
            return message
        calls = [
            {"id": call_id(self._envelope.id, choice.index, at), **_function(call)}
            for at, call in enumerate(choice.calls)
        ]
        return message | {"content": choice.text or None, "tool_calls": calls}

    def _call_piece(self, choice: int, piece: CallDelta) -> Json:
        """A part of a call; the first has its id and its name."""
        if piece.name is None:
            return {"index": piece.index, "function": {"arguments": piece.arguments}}
        begun = ToolCall(piece.name, piece.arguments)
        identity = call_id(self._envelope.id, choice, piece.index)
        return {"index": piece.index, "id": identity, **_function(begun)}

    def _logprobs_json(self, tokens: Iterable[bytes]) -> Json | None:
        if not self._logprobs:
            return None
        return {"content": _tokens_json(tokens), "refusal": None}


def _function(call: ToolCall) -> Json:
    return {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tokens_json(tokens: Iterable[bytes]) -> Iterator[Json]:
    """One at a time, while it is sent: all of them may be very many."""
    for token in unpacked(tokens):
        yield _token_json(token) | {"top_logprobs": [_token_json(top) for top in token.top]}


def _token_json(token: TokenLogprob) -> Json:
    return {
        "token": token.token,
        "logprob": finite(token.logprob),
        "bytes": list(token.bytes),
    }
