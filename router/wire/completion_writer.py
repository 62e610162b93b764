"""Answers of `POST /v1/completions`."""

import codecs
from collections import Counter
from collections.abc import Sequence

from router.answer import Choice
from router.engine import Delta, FinishReason, TokenLogprob
from router.wire.writer import Envelope, Json, Writer, finite


class CompletionWriter(Writer):
    """Writes `text_completion`, whole and in chunks."""

    body_object = chunk_object = "text_completion"

    def __init__(
        self, envelope: Envelope, include_usage: bool = False, logprobs: bool = False
    ) -> None:
        super().__init__(envelope, include_usage)
        self._logprobs = logprobs
        self._offsets: Counter[int] = Counter()
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def _choice(self, choice: Choice) -> Json:
        return self._written(choice.index, choice.text, choice.logprobs, choice.finish_reason)

    def _piece(self, delta: Delta) -> Json:
        return self._written(delta.index, delta.text, delta.logprobs, delta.finish_reason)

    def _written(
        self,
        index: int,
        text: str,
        tokens: Sequence[TokenLogprob],
        finish_reason: FinishReason | None,
    ) -> Json:
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs_json(index, tokens) if self._logprobs else None,
            "finish_reason": finish_reason,
        }

    def _logprobs_json(self, index: int, tokens: Sequence[TokenLogprob]) -> Json:
        """Parallel lists, as the older API has them; offsets are characters into the text."""
        offsets = []
        decoder = self._decoders.setdefault(index, codecs.getincrementaldecoder("utf-8")("replace"))
        for token in tokens:
            offsets.append(self._offsets[index])
            # A character may be made of several tokens: it counts once, when it is whole.
            self._offsets[index] += len(decoder.decode(bytes(token.bytes)))
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": [
                {top.token: finite(top.logprob) for top in token.top} for token in tokens
            ],
            "text_offset": offsets,
        }
