"""What the engine emits for a request, as the router takes it."""

from collections.abc import Iterable
from dataclasses import replace

from router.engine import CallDelta, Delta, joined
from router.logprobs import TokenLogprob, packed
from specialists.engine.calls import CallFormat, CallReader
from specialists.engine.core import Choice, Emission
from specialists.engine.text import Tokenizer


class Deltas:
    """Makes deltas of the emissions of one request's rows."""

    def __init__(self, tokenizer: Tokenizer, calls: CallFormat | None, rows: int) -> None:
        """With `calls` answers are read for calls of that format, else they are all text."""
        self._tokenizer = tokenizer
        self._readers = [CallReader(calls) for _ in range(rows)] if calls else []

    def of(self, emissions: Iterable[tuple[int, Emission]]) -> list[Delta]:
        """One delta per row, in place of the emissions that arrived together."""
        merged = joined(self._delta(row, emission) for row, emission in emissions)
        if not self._readers:
            return merged
        return [_read(delta, self._readers[delta.index]) for delta in merged]

    def _delta(self, row: int, emission: Emission) -> Delta:
        choice = emission.choice
        shown = choice is not None and choice.logprob is not None
        ended = choice is not None and choice.token in self._tokenizer.eos
        return Delta(
            index=row,
            text=emission.text,
            tokens=1,
            logprobs=(packed(self._logprob(choice)),) if choice and shown and not ended else (),
            finish_reason=emission.finish.value if emission.finish else None,
            stopped_by=emission.stopped_by,
        )

    def _logprob(self, choice: Choice) -> TokenLogprob:
        top = tuple(self._shown(each.token, each.logprob) for each in choice.top)
        return replace(self._shown(choice.token, choice.logprob or 0.0), top=top)

    def _shown(self, token: int, logprob: float) -> TokenLogprob:
        text, raw = self._tokenizer.token_text(token)
        return TokenLogprob(text, logprob, raw)


def _read(delta: Delta, reader: CallReader) -> Delta:
    """The same delta, its text told from its calls."""
    text, pieces = reader.push(delta.text)
    finish = delta.finish_reason
    if finish is not None:
        complete = finish == "stop"
        text += reader.end(complete=complete)
        finish = "tool_calls" if complete and reader.calls else finish
    calls = tuple(CallDelta(piece.index, piece.arguments, piece.name) for piece in pieces)
    return replace(delta, text=text, calls=calls, finish_reason=finish)
