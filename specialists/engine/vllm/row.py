"""One answer that vLLM is making."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from specialists.engine.core import Choice, Emission, FinishReason, Logprob, emitted
from specialists.engine.text_stream import TextStream
from specialists.errors import EngineStopped


@dataclass(eq=False, slots=True)
class VllmRow:
    """Turns what vLLM says of one answer into emissions.

    Attributes:
        prompt: its tokens.
        text: of the answer so far.
        eos: tokens that end an answer.
        shown: log probabilities beside the chosen token's; None for none at all.
        emit: called with every emission.
        tokens: of the answer so far.
        cached: tokens of the prompt that did not have to be computed.
        over: whether its last emission was made.
        heard: when vLLM last said something of it, by the monotonic clock.
    """

    prompt: int
    text: TextStream
    eos: frozenset[int]
    shown: int | None
    emit: Callable[[Emission], None]
    tokens: int = 0
    cached: int = 0
    over: bool = False
    heard: float = field(default_factory=time.monotonic)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Emit what a message brings, up to the token that ends the answer."""
        if "error" in message:
            self.fail(EngineStopped(f"vLLM refused to answer: {message['error']}"))
            return
        self.cached = self.cached or message["cached"]
        tokens, finish = message["tokens"], message["finish"]
        for place, token in enumerate(tokens):
            last = finish in tuple(FinishReason) and place == len(tokens) - 1
            likely = message["logprobs"][place] if self.shown is not None else ()
            self._take(self._choice(token, likely), FinishReason(finish) if last else None)
            if self.over:
                return
        if finish is not None:
            self.fail(EngineStopped(f"vLLM ended the answer: {finish}"))

    def fail(self, error: EngineStopped) -> None:
        """End it with an error."""
        if not self.over:
            self.over = True
            self.emit(Emission(None, "", error=error))

    def _take(self, choice: Choice, over: FinishReason | None) -> None:
        self.tokens += 1
        ended = choice.token in self.eos
        emission = emitted(self.text, choice, over, ended=ended, cached=self.cached)
        self.over = emission.finish is not None
        self.emit(emission)

    def _choice(self, token: int, likely: Sequence[tuple[int, float]]) -> Choice:
        """A token with its logprob; vLLM tells it beside the likeliest, even if it is none."""
        found = dict(likely)
        if token not in found:
            return Choice(token)
        top = tuple(Logprob(each, logprob) for each, logprob in likely[: self.shown])
        return Choice(token, found[token], top)
