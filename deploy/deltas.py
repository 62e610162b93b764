"""What the engine emits for a request, as the router takes it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from router.engine import CallDelta, Delta, joined
from router.logprobs import UNKNOWN, TokenLogprob, packed
from specialists.engine.calls import CallFormat, CallReader
from specialists.engine.core import Choice, Emission
from specialists.engine.text import Tokenizer
from specialists.engine.thoughts import Thoughts


class Deltas:
    """Makes deltas of the emissions of one request's rows."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        calls: CallFormat | None,
        rows: int,
        *,
        thoughts: Thoughts | None = None,
        whole: bool = False,
        mute: bool = False,
        ends: Collection[int] = (),
    ) -> None:
        """Make deltas of so many rows.

        Args:
            tokenizer: the base's.
            calls: of which format the calls are that are looked for in answers; None for none.
            rows: how many there are.
            thoughts: which may come before answers; None where they are not looked for.
            whole: whether nobody reads before all is there.
            mute: whether nothing is told of answers but that they end.
            ends: tokens that end answers, and are no part of them.
        """
        self._tokenizer = tokenizer
        self._mute = mute
        self._rows = rows
        self._begun: list[Delta] = []
        self._ends = ends
        self._readers = [CallReader(calls) for _ in range(rows)] if calls else []
        self._thinkers = [] if thoughts is None else [Thinker(thoughts, whole) for _ in range(rows)]

    def of(self, emissions: Iterable[tuple[int, Emission]]) -> list[Delta]:
        """One delta per row, in place of the emissions that arrived together."""
        begun, self._begun = self._begun, []
        deltas = [self._delta(row, emission) for row, emission in emissions]
        merged = joined([*begun, *deltas])
        if not self._readers:
            return merged
        return [_read(delta, self._readers[delta.index]) for delta in merged]

    @property
    def thought_tokens(self) -> int:
        """Tokens of thoughts, of all answers so far."""
        return sum(thinker.tokens for thinker in self._thinkers)

    def echo(self, prompt: Sequence[int], text: str | None, *, logprobs: bool) -> None:
        """Begin each answer with its prompt, whose first token nothing is known of.

        Where it is told how likely tokens are, it is told of all: whoever compares texts goes by
        their number.

        Args:
            prompt: its tokens.
            text: what it says; None is what the tokens do.
            logprobs: whether it is told how likely tokens are.
        """
        if text is None:
            raw = b"".join(self._tokenizer.token_text(token)[1] for token in prompt)
            text = raw.decode(errors="replace")
        first = (packed(self._shown(prompt[0], UNKNOWN)),) if logprobs else ()
        self._ends = ()
        self._begun = [Delta(row, text, 0, first) for row in range(self._rows)]

    def _delta(self, row: int, emission: Emission) -> Delta:
        if self._mute and not emission.of_prompt:
            return Delta(row, "", 0, finish_reason="length" if emission.finish else None)
        choice = emission.choice
        shown = choice is not None and choice.logprob is not None
        ended = choice is not None and choice.token in self._ends
        delta = Delta(
            index=row,
            text=emission.text,
            tokens=0 if emission.of_prompt else 1,
            logprobs=(packed(self._logprob(choice)),) if choice and shown and not ended else (),
            finish_reason=emission.finish.value if emission.finish else None,
            stopped_by=emission.stopped_by,
            thought=emission.thought,
        )
        return self._thinkers[row].told(delta, emission.thinking) if self._thinkers else delta

    def _logprob(self, choice: Choice) -> TokenLogprob:
        top = tuple(self._shown(each.token, each.logprob) for each in choice.top)
        return replace(self._shown(choice.token, choice.logprob or 0.0), top=top)

    def _shown(self, token: int, logprob: float) -> TokenLogprob:
        text, raw = self._tokenizer.token_text(token)
        return TokenLogprob(text, logprob, raw)


class Thinker:
    """Says which thoughts of one row are told, and when.

    What ends by itself within thoughts that its prompt opened is an answer all the same: so answer
    adapters that were trained without thoughts, elsewhere.
    """

    def __init__(self, thoughts: Thoughts, whole: bool) -> None:
        """Begin with a row, whose thoughts are told in one if it is wanted `whole`."""
        self._opened = self._thinking = thoughts.opened
        self._whole = whole
        self._thought = ""
        self.tokens = 0
        """Of its thoughts."""

    def told(self, delta: Delta, still_thinking: bool) -> Delta:
        """The delta that is told for one that came; `still_thinking` after it."""
        self.tokens += delta.tokens if self._thinking else 0
        self._thinking = still_thinking
        self._thought += delta.thought
        if still_thinking and self._opened and delta.finish_reason == "stop":
            self.tokens = 0
            return replace(delta, text=self._thought, thought="")
        if not self._whole:
            return delta
        held = still_thinking and delta.finish_reason is None
        thought = "" if held else self._thought
        self._thought = self._thought if held else ""
        return replace(delta, thought=thought)


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
