"""Answers of `POST /v1/completions`."""

import codecs
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isnan
from typing import TypeVar

from router.answer import Choice
from router.engine import Delta, FinishReason
from router.logprobs import TokenLogprob, unpacked
from router.wire.base import StreamOptions
from router.wire.writer import ChoiceWriter, Envelope, Json, finite

Told = TypeVar("Told")


class CompletionWriter(ChoiceWriter):
    """Writes `text_completion`, whole and in chunks."""

    body_object = chunk_object = "text_completion"

    def __init__(
        self, envelope: Envelope, options: StreamOptions | None = None, logprobs: bool = False
    ) -> None:
        super().__init__(envelope, options)
        self._logprobs = logprobs
        self._offsets: Counter[int] = Counter()
        self._written_so_far: Counter[int] = Counter()
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def _choice(self, choice: Choice) -> Json:
        return self._written(choice.index, choice.text, choice.logprobs, choice.finish_reason)

    def _piece(self, delta: Delta) -> Json:
        return self._written(delta.index, delta.text, delta.logprobs, delta.finish_reason)

    def _written(
        self,
        index: int,
        text: str,
        tokens: Sequence[bytes],
        finish_reason: FinishReason | None,
    ) -> Json:
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs_json(index, text, tokens) if self._logprobs else None,
            "finish_reason": finish_reason,
        }

    def _logprobs_json(self, index: int, text: str, tokens: Sequence[bytes]) -> Json:
        """Parallel lists, as the older API has them; offsets are characters into the text."""
        offsets = []
        self._written_so_far[index] += len(text)
        decoder = self._decoders.setdefault(index, codecs.getincrementaldecoder("utf-8")("replace"))
        for token in unpacked(tokens):
            # What a stop text cut away has no place: its tokens stand at the end.
            offsets.append(min(self._offsets[index], self._written_so_far[index]))
            # A character may be made of several tokens: it counts once, when it is whole.
            self._offsets[index] += len(decoder.decode(token.bytes))
        # Made while they are sent: of a long answer they are very many.
        return {
            "tokens": (token.token for token in unpacked(tokens)),
            "token_logprobs": (_known(token, finite(token.logprob)) for token in unpacked(tokens)),
            "top_logprobs": (_known(token, _by_text(token.top)) for token in unpacked(tokens)),
            "text_offset": offsets,
        }


def _known(token: TokenLogprob, told: Told) -> Told | None:
    """What is told of a token; nothing of a text's first one."""
    return None if isnan(token.logprob) else told


def _by_text(tokens: Iterable[TokenLogprob]) -> Json:
    """Log probabilities by the tokens' texts; those that share one go by their bytes."""
    found: Json = {}
    for token in tokens:
        name = token.token
        if name in found or "\ufffd" in name:
            name = "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)
        # Two tokens may even be of the same bytes.
        while name in found:
            name += "'"
        found[name] = finite(token.logprob)
    return found
