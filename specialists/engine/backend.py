"""What answers requests: our own engine (`runner.py`) or another's (`vllm/`), each behind this."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from specialists.engine.core import Emission, SamplingParams
from specialists.engine.grammar import Grammar, Grammars
from specialists.engine.habits import Expected
from specialists.engine.report import Report
from specialists.engine.text import Tokenizer
from specialists.engine.thoughts import Thoughts
from specialists.errors import ContextOverflow, InvalidPrompt, InvalidSampling


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks of a backend.

    Attributes:
        id: unique; for logs.
        adapter: digest of the version that answers; None is the bare base.
        prompt: its tokens.
        n: answers wanted.
        params: how tokens are chosen; each row draws its own random numbers from the seed.
        grammar: what each answer must look like, at its beginning; None leaves them free.
        whole: whether nothing is wanted before all answers are complete.
        tenant: whose request it is; nobody else shares what is computed for it.
        absent: whether nobody waits for the answers.
        expected: what each answer may be, before it has begun, for an engine that makes use of it.
        thoughts: which may come before each answer; None: all is the answer.
    """

    id: str
    adapter: str | None
    prompt: list[int]
    n: int
    params: SamplingParams
    grammar: Grammar | None = None
    whole: bool = False
    tenant: str | None = None
    absent: bool = False
    expected: Expected | None = None
    thoughts: Thoughts | None = None

    @property
    def streams(self) -> int:
        """Answers that are read as they are made."""
        return 0 if self.whole else self.n

    def require_computable(self, context: int, vocabulary: int) -> None:
        """Refuse what a base of so long a context and so many tokens cannot compute.

        Raises:
            InvalidPrompt: the prompt is empty, or has tokens that the base does not know.
            InvalidSampling: a parameter asks for what the base cannot give.
            ContextOverflow: the prompt leaves no room for an answer.
        """
        if not self.prompt:
            raise InvalidPrompt("the prompt is empty")
        if len(self.prompt) >= context:
            raise ContextOverflow(len(self.prompt), context)
        if not all(0 <= token < vocabulary for token in self.prompt):
            raise InvalidPrompt(f"token ids must be below {vocabulary}")
        named = {
            "logit_bias": [token for token, _ in self.params.logit_bias],
            "stop_token_ids": self.params.stop_token_ids,
        }
        for param, tokens in named.items():
            if any(token >= vocabulary for token in tokens):
                raise InvalidSampling(f"token ids must be below {vocabulary}", param)


class Backend(Protocol):
    """One base at work with many adapters; `generate` may be called from any event loop."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The base's."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""

    @property
    def grammars(self) -> Grammars:
        """Compiles what answers must look like."""

    @property
    def alive(self) -> bool:
        """Whether it still answers; one that does not is to be replaced."""

    def generate(self, request: Request) -> AsyncGenerator[list[tuple[int, Emission]], None]:
        """Answer a request: lists of (the row's number, emission), the first and the last at once.

        Closing the iterator frees all that the request holds.

        Raises:
            InvalidPrompt: the prompt is empty, or has tokens that the base does not know.
            InvalidSampling: a parameter asks for what the base cannot give.
            ContextOverflow: the prompt leaves no room for an answer.
            Overloaded: too many requests are waiting.
            EngineStopped: it is shutting down, or failed.
            AdapterUnavailable: the adapter could not be loaded.
        """
        ...

    def require_room(self, rows: int, tenant: str | None = None) -> None:
        """Refuse early, before any work is done for a request.

        Raises:
            EngineStopped: it is shutting down, or has failed.
            Overloaded: too many requests are waiting.
        """

    def prefetch(self, digest: str, *, evicts: bool) -> None:
        """Have an adapter loaded that may be wanted soon; with `evicts` idle ones may go."""

    def report(self) -> Report:
        """Load, pace and residents, for whoever sends requests to one of several."""
        ...

    def stats(self) -> dict[str, int]:
        """Figures for metrics and status; those whose names end in "_total" only grow."""
        ...

    def close(self) -> None:
        """End all requests with an error, and stop."""
