"""What the router asks of an engine: generate from one prompt, with one adapter or none."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, field
from itertools import chain
from typing import Literal, Protocol

from router.sampling import Sampling

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool; `arguments` is a JSON object, as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; a tool's is the result of a call.

    `thoughts` are what the assistant thought before it said this.
    """

    role: Role
    content: str
    calls: tuple[ToolCall, ...] = ()
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called; `parameters` is a JSON schema of an object, as text."""

    name: str
    parameters: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools an answer may call.

    Attributes:
        tools: what the chat offers, at least one.
        only: the one that is to be called; None leaves the choice.
        required: whether at least one must be called.
        several: whether more than one call may be made; None leaves it to the base.
    """

    tools: tuple[Tool, ...]
    only: str | None = None
    required: bool = False
    several: bool | None = None

    @property
    def callable(self) -> tuple[Tool, ...]:
        """The tools that may be called."""
        return tuple(tool for tool in self.tools if self.only in (None, tool.name))


@dataclass(frozen=True, slots=True)
class Rules:
    """What an answer must look like, in another language than JSON schema's.

    Attributes:
        language: of the text: a regular expression, a JSON list of choices, or a grammar (in Lark
            or GBNF).
        text: as it was sent.
    """

    language: Literal["regex", "choice", "grammar"]
    text: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One request to an engine: `n` independent continuations of one prompt.

    Without any (`n` is 0) nothing comes of it but how many tokens the prompt takes, and with `echo`
    one delta with its text and which tokens these are.

    Attributes:
        request_id: Names the request in logs; unique among those in flight.
        adapter: Digest of the version that answers; None is the bare base.
        prompt: Chat messages (the engine applies the chat template), text, or token ids.
        n: Continuations wanted.
        sampling: How tokens are chosen; what it leaves open is the engine's own choice.
        continued: Whether the last chat message is gone on with, in place of a new one.
        variables: What else the chat template is told, a JSON object as text; None for nothing.
        most_thought: Tokens that the base may think before it answers, if it is one that does;
            None is as many as it likes.
        schema: JSON schema, as text, that every continuation must satisfy, unless it is calls of
            tools; None leaves them free.
        rules: What else every continuation must satisfy, where there is neither schema nor tool.
        tool_use: What may be called; None is nothing.
        logprobs: None for none; k for the chosen token and the k likeliest.
        echo: Whether a continuation begins with the prompt, which is no chat; with `logprobs` it is
            told how likely its tokens were, too.
        bare: Whether a text is read without the tokens that are put around prompts.
        tenant: Whose request it is: what is computed for it is used again for nobody else.
        absent: Whether nobody waits for the answer: it gives way to those that somebody waits for.
        whole: Whether nobody reads before all is there: one delta for each continuation will do.
        expected: What the answer may be: it comes sooner as far as it is that.
    """

    request_id: str
    adapter: str | None
    prompt: tuple[Message, ...] | str | tuple[int, ...]
    n: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    continued: bool = False
    variables: str | None = None
    most_thought: int | None = None
    schema: str | None = None
    rules: Rules | None = None
    tool_use: ToolUse | None = None
    logprobs: int | None = None
    echo: bool = False
    bare: bool = False
    tenant: str | None = None
    absent: bool = False
    whole: bool = False
    expected: str = ""

    @property
    def thinks(self) -> bool:
        """Whether anything may be thought."""
        return self.most_thought != 0


@dataclass(frozen=True, slots=True)
class CallDelta:
    """New text of a continuation's call `index` (0, 1, …); its first delta brings the name."""

    index: int
    arguments: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt as the base reads it: its tokens, each by number and name, and how many it takes."""

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    context: int


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of continuation `index` (0 to n - 1): `tokens` tokens, perhaps its last.

    `thought` is what was thought before the text. `logprobs` are those of its tokens, packed (see
    `logprobs.py`); `stopped_by` is the stop text that ended it. The first of all says what the
    `prompt` took. Where there are no continuations the text is the prompt's, `read` as it says.
    """

    index: int
    text: str
    tokens: int
    logprobs: tuple[bytes, ...] = ()
    finish_reason: FinishReason | None = None
    calls: tuple[CallDelta, ...] = ()
    stopped_by: str | None = None
    prompt: "Usage | None" = None
    thought: str = ""
    read: Reading | None = None


def joined(deltas: Iterable[Delta]) -> list[Delta]:
    """One delta for each continuation, which says what these say of it, in their order."""
    of_each: dict[int, list[Delta]] = {}
    for delta in deltas:
        of_each.setdefault(delta.index, []).append(delta)
    return [
        Delta(
            index=index,
            text="".join(each.text for each in some),
            tokens=sum(each.tokens for each in some),
            logprobs=tuple(chain.from_iterable(each.logprobs for each in some)),
            finish_reason=some[-1].finish_reason,
            calls=tuple(chain.from_iterable(each.calls for each in some)),
            stopped_by=some[-1].stopped_by,
            prompt=some[0].prompt,
            thought="".join(each.thought for each in some),
            read=some[0].read,
        )
        for index, some in of_each.items()
    ]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt (counted once) and of all continuations; always the last item.

    Attributes:
        prompt_tokens: Of the prompt.
        completion_tokens: Of all continuations.
        cached_tokens: Those of the prompt that did not have to be computed.
        accepted_tokens: Those of continuations that were as somebody had foretold.
        rejected_tokens: Those that were foretold, and did not come.
        thought_tokens: Those of continuations that were thoughts.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    accepted_tokens: int = 0
    rejected_tokens: int = 0
    thought_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """What both took together."""
        return Usage(*map(sum, zip(astuple(self), astuple(other), strict=True)))


NOTHING = Usage(0, 0)

Items = AsyncGenerator[Delta | Usage, None]
"""What comes of a generation: deltas as they are made, then one `Usage`."""


class Engine(Protocol):
    """Answers generations with the base and any registered adapter."""

    def generate(self, generation: Generation) -> Items:
        """Yield deltas as they are made, then one `Usage`. Closing the iterator aborts the work.

        Raises:
            EngineRefused: Before the first item, when the generation is not taken on.
        """
        ...

    def place(self, tenant: str | None) -> AbstractContextManager[None]:
        """Hold a place for a generation that is not asked for yet.

        What would be refused anyway is refused before anything is done for it.

        Raises:
            Overloaded: There is no place for anything of this tenant's at the moment.
        """
        ...

    def resident(self, adapter: str) -> bool:
        """Whether an adapter is known to be in memory somewhere; told at once, by any thread."""
        ...

    async def prefetch(self, adapters: Sequence[str], *, evicts: bool) -> None:
        """Have adapters at hand that may be wanted soon; nothing comes of one that cannot be had.

        Args:
            adapters: digests of versions.
            evicts: whether others that are idle may make room.
        """
        ...

    async def ready(self) -> bool:
        """Whether a generation would be taken on now."""
        ...

    async def stats(self) -> Mapping[str, Mapping[str, float]]:
        """How much is in use, by names such as `running`, of each engine by its name.

        Those whose names end in "_total" only grow.
        """
        ...
