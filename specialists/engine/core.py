"""The nouns of the hot path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from specialists.engine.grammar import Grammar
from specialists.engine.habits import Expected
from specialists.engine.text_stream import TextStream
from specialists.engine.thought_budget import ThoughtBudget
from specialists.errors import EngineError

if TYPE_CHECKING:
    # It needs torch, and routers do without.
    from specialists.engine.shape import Shape


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen, in OpenAI's terms.

    Attributes:
        max_tokens: tokens of the answer at most; there is always one.
        temperature: 0 is greedy.
        top_p: share of the probability mass that is kept, in [0, 1]; 0 is greedy.
        top_k: how many of the likeliest tokens are kept; 0 keeps all.
        min_p: least probability that is kept, as a share of the likeliest token's.
        frequency_penalty: taken off a token's logit for each time it stands in the answer.
        presence_penalty: taken off a token's logit if it stands in the answer.
        repetition_penalty: divides logits of tokens in prompt and answer; 1 changes nothing.
        logit_bias: pairs of token and what is added to its logit.
        seed: of this row's own random numbers; None takes a fresh one.
        stop: texts that end the answer and are not part of it.
        stop_token_ids: tokens that end it beside the base's own, and are not part of it.
        min_tokens: before so many no token ends the answer, as long as others may come.
        ignore_eos: whether the base's own do not end it.
        logprobs: None for none; k for the chosen token's and those of the k most likely.
        prompt_logprobs: the same of the prompt's tokens, but for its first.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None

    @property
    def shapes(self) -> bool:
        """Whether logits are changed before a token is drawn."""
        penalties = self.frequency_penalty or self.presence_penalty
        return bool(penalties or self.repetition_penalty != 1 or self.logit_bias)

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are left out one by one."""
        return self.top_k > 0 or self.min_p > 0

    def ends(self, eos: frozenset[int]) -> frozenset[int]:
        """The tokens that end an answer, given the base's own."""
        return frozenset(self.stop_token_ids) | (frozenset() if self.ignore_eos else eos)


@dataclass(frozen=True, slots=True)
class Logprob:
    """Natural logarithm of a token's probability under the unscaled logits."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Choice:
    """One sampled token, with the most likely ones when they were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Emission:
    """What one step gave one row.

    Attributes:
        choice: the sampled token; None when the row failed.
        text: what can be shown now; may be empty while a character or a stop text is incomplete.
        thought: what can be shown of the thoughts before the answer.
        thinking: whether the answer is still being thought.
        finish: set on the last one.
        error: why the row failed; it is then the last one.
        cached: tokens of the prompt that did not have to be computed.
        stopped_by: the stop text that ended the answer.
        foretold: tokens of the answer so far that somebody had foretold; None is unknown.
        of_prompt: whether it tells how likely a token of the prompt was, and nothing of the answer.
    """

    choice: Choice | None
    text: str
    finish: FinishReason | None = None
    error: EngineError | None = None
    cached: int = 0
    stopped_by: str | None = None
    foretold: int | None = None
    of_prompt: bool = False
    thought: str = ""
    thinking: bool = False


@dataclass(eq=False, slots=True)
class Row:
    """One row: a prompt that is being continued.

    Invariant: the keys and values of `tokens[:computed]` are stored in `pages`, and
    `computed < len(tokens)` whenever the row is scheduled.

    Attributes:
        id: unique in the engine; for logs.
        adapter: digest of the version that answers; None is the bare base.
        tokens: prompt, then answer.
        prompt_length: tokens of the prompt.
        grammar: what the answer must look like; None leaves it free.
        served: the step that last computed some of it.
        tenant: whose request it is; nobody else shares what was computed for it.
        absent: whether nobody waits for the answer.
        keys: of its complete pages, as far as they were needed.
        cached: tokens of the prompt that did not have to be computed.
        shape: what changes its logits before its grammar does, from its first step on.
        learned: tokens that guesses are made from so far, see `Drafts`.
        expected: what the answer may be, if somebody said so.
        scored: the first tokens of the prompt, of which need not be told how likely they were.
        ends: tokens that end the answer.
        budget: of its thoughts; None leaves them free.
        emit: called from the engine's thread with every emission.
    """

    id: str
    adapter: str | None
    tokens: list[int]
    prompt_length: int
    params: SamplingParams
    text: TextStream
    emit: Callable[[Emission], None]
    random: Random
    grammar: Grammar | None = None
    pages: list[int] = field(default_factory=list)
    computed: int = 0
    pinned: bool = False
    served: int = 0
    tenant: str | None = None
    absent: bool = False
    keys: list[bytes] = field(default_factory=list)
    cached: int = 0
    shape: "Shape | None" = None
    learned: int = 0
    expected: Expected | None = None
    scored: int = 1
    ends: frozenset[int] = frozenset()
    budget: ThoughtBudget | None = None

    @property
    def scope(self) -> bytes:
        """Who may share what is known of it: whoever asks the same adapter for the same tenant."""
        return f"{self.adapter or ''}\0{self.tenant or ''}".encode()

    @property
    def is_scoring(self) -> bool:
        """Whether it is to be told how likely tokens of the prompt were, of which it was not."""
        return self.params.prompt_logprobs is not None and self.scored < self.prompt_length

    @property
    def is_too_short(self) -> bool:
        """Whether nothing may end it yet."""
        return self.generated < self.params.min_tokens

    @property
    def generated(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_length


@dataclass(frozen=True, slots=True)
class Run:
    """`count` tokens of one row that a step computes, from `row.computed` on.

    Attributes:
        draft: tokens that may come after the row's last one, and are computed as if they did.
    """

    row: Row
    count: int
    draft: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Tokens that it takes up in the step's batch."""
        return self.count + len(self.draft)

    @property
    def ids(self) -> list[int]:
        """The tokens."""
        first = self.row.computed
        return [*self.row.tokens[first : first + self.count], *self.draft]

    @property
    def samples(self) -> int:
        """After how many of them, the last ones, logits are wanted, see `wanted`.

        None, unless the step reaches the row's end: then after that one, where a new token is
        chosen, and after each of the draft.
        """
        ends = self.row.computed + self.count == len(self.row.tokens)
        return 1 + len(self.draft) if ends else 0

    @property
    def scores(self) -> range:
        """After which of them logits are wanted for the sake of the prompt's next token."""
        if not self.row.is_scoring:
            return range(0)
        last = self.row.prompt_length - 1 - self.row.computed
        return range(max(self.row.scored - 1 - self.row.computed, 0), min(self.count, last))

    @property
    def of_prompt(self) -> int:
        """How many of them, the first ones, are of the row's prompt."""
        return min(self.count, max(self.row.prompt_length - self.row.computed, 0))


def wanted(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """After which tokens a step's logits are wanted, in order: the number of a run, and in it.

    Those where a token is chosen anyhow come first, then those after one guessed token, after two;
    last those that tell of prompts.
    """
    ordered = sorted((deep, at) for at, run in enumerate(runs) for deep in range(run.samples))
    scores = [(at, place) for at, run in enumerate(runs) for place in run.scores]
    return [(at, runs[at].width - runs[at].samples + deep) for deep, at in ordered] + scores


def emitted(
    text: TextStream,
    choice: Choice,
    over: FinishReason | None,
    *,
    ended: bool,
    cached: int,
    foretold: int | None = None,
) -> Emission:
    """What a chosen token gives its row to show.

    Args:
        text: of the row's answer so far.
        choice: the token.
        over: why the answer is over with it, whatever it says; None if it is not.
        ended: whether it ends the answer and is no part of it.
        cached: tokens of the prompt that did not have to be computed.
        foretold: tokens of the answer, up to this one, that somebody had foretold.
    """
    thought, shown = ("", "") if ended else text.push(choice.token)
    finish = FinishReason.STOP if ended or text.stopped_by else over
    if finish is not None and not text.stopped_by:
        rest_of_thought, rest = text.flush()
        thought, shown = thought + rest_of_thought, shown + rest
        finish = FinishReason.STOP if text.stopped_by else finish
    return Emission(
        choice, shown, finish, cached=cached, stopped_by=text.stopped_by, foretold=foretold,
        thought=thought, thinking=text.thinking,
    )  # fmt: skip
