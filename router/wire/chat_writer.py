"""Answers of `POST /v1/chat/completions`."""

from collections.abc import Sequence

from router.answer import Choice
from router.engine import Delta, TokenLogprob
from router.wire.writer import ChoiceWriter, Envelope, Json, finite


class ChatWriter(ChoiceWriter):
    """Writes `chat.completion` and `chat.completion.chunk`."""

    body_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(
        self, envelope: Envelope, include_usage: bool = False, logprobs: bool = False
    ) -> None:
        super().__init__(envelope, include_usage)
        self._logprobs = logprobs
        self._introduced: set[int] = set()

    def _choice(self, choice: Choice) -> Json:
        return {
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._logprobs_json(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _piece(self, delta: Delta) -> Json:
        content = {"content": delta.text} if delta.text else {}
        if delta.index not in self._introduced:
            self._introduced.add(delta.index)
            content = {"role": "assistant", "content": delta.text}
        return {
            "index": delta.index,
            "delta": content,
            "logprobs": self._logprobs_json(delta.logprobs),
            "finish_reason": delta.finish_reason,
        }

    def _logprobs_json(self, tokens: Sequence[TokenLogprob]) -> Json | None:
        if not self._logprobs:
            return None
        content = [
            _token_json(token) | {"top_logprobs": [_token_json(top) for top in token.top]}
            for token in tokens
        ]
        return {"content": content, "refusal": None}


def _token_json(token: TokenLogprob) -> Json:
    return {
        "token": token.token,
        "logprob": finite(token.logprob),
        "bytes": list(token.bytes),
    }
