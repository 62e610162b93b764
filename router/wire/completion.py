"""The request body of `POST /v1/completions`."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Discriminator, Field, Tag, model_validator

from router.engine import Generation
from router.sampling import Sampling
from router.wire.base import bounded, refused
from router.wire.sampling import MOST_TOKENS, GenerationRequest

MAX_PROMPTS = 16

Prompt = str | tuple[int, ...]
Ids = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, fail_fast=True)]


def _kind(value: object) -> str | None:
    """The tag of a prompt's form, told by its first item."""
    if isinstance(value, str):
        return "(text)"
    if not isinstance(value, list) or not value:
        return None
    return {str: "(texts)", int: "(ids)", list: "(lists)"}.get(type(value[0]))


AnyPrompt = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[Ids, Tag("(ids)")]
    | Annotated[list[str], bounded(MAX_PROMPTS, "prompts"), Tag("(texts)")]
    | Annotated[list[Ids], bounded(MAX_PROMPTS, "prompts"), Tag("(lists)")],
    Discriminator(
        _kind,
        custom_error_type="invalid_type",
        custom_error_message="must be a string, a list of token ids, or a list of either",
    ),
]


class CompletionRequest(GenerationRequest):
    """A text, or several, to be continued."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {"suffix": ("",)}

    prompt: AnyPrompt
    max_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = 16
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool = Field(False, description="Whether answers begin with the prompt.")
    best_of: int | None = None

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.max_tokens == 0 and not self.echo:
            message = "must be 1 at least, unless 'echo' asks for the prompt alone"
            raise refused("invalid_value", "max_tokens", message)
        return self

    @model_validator(mode="after")
    def _picks_no_best(self) -> Self:
        if self.best_of not in (None, self.n):
            message = "is not supported by this server unless it equals 'n'; remove it"
            raise refused("unsupported_parameter", "best_of", message)
        return self

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts in order, each a text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [tuple(self.prompt)]
        return [p if isinstance(p, str) else tuple(p) for p in self.prompt]

    @property
    def most_echoed(self) -> int:
        """Tokens of prompts in the answers, at most: each is a byte or more."""
        sizes = (len(p.encode() if isinstance(p, str) else p) for p in self.prompts)
        return sum(sizes) * self.n if self.echo else 0

    def generations(
        self, request_id: str, adapter: str | None, sampling: Sampling
    ) -> list[Generation]:
        """What is asked of the engine: one generation per prompt."""
        form = self.structured_outputs
        return [
            Generation(
                request_id=f"{request_id}-{number}",
                adapter=adapter,
                prompt=prompt,
                n=self.n,
                sampling=sampling,
                schema=None if form is None else form.schema_text,
                rules=None if form is None else form.rules,
                logprobs=self.logprobs,
                echo=self.echo,
            )
            for number, prompt in enumerate(self.prompts)
        ]
