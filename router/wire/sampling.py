"""The sampling parameters that chats and completions share."""

from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from router.sampling import Sampling
from router.wire.base import (
    ONE_OR_MORE,
    Body,
    ModelName,
    Share,
    StreamOptions,
    Text,
    bounded,
    refused,
)
from router.wire.routing_options import Routing
from router.wire.structured_outputs import StructuredOutputs

MAX_BIASES = 1024
MAX_STOP_TOKENS = 64
MOST_TOKENS = 1_000_000
Count = Annotated[int, Field(ge=1, le=MOST_TOKENS)]


StopText = Annotated[Text, Field(min_length=1, max_length=256)]
Stop = Annotated[
    list[StopText],
    bounded(4, "stop texts"),
    ONE_OR_MORE,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
LogitBias = Annotated[
    dict[TokenId, Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]],
    bounded(MAX_BIASES, "biases"),
]
StopTokens = Annotated[
    list[Annotated[int, Field(ge=0, lt=10**9)]], bounded(MAX_STOP_TOKENS, "token ids")
]

FLEX = Field(description="`flex` is for what nobody waits for: it gives way to everything else.")
ServiceTier = Annotated[Literal["auto", "default", "flex"] | None, FLEX]


class GenerationRequest(Body):
    """How an answer is drawn and delivered.

    Ranges are OpenAI's; what is left out, the card of whoever answers decides, or the base.
    """

    model: ModelName
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_tokens: Count | None = None
    top_k: Annotated[int, Field(ge=-1, le=10_000_000)] | None = None
    min_p: Share | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    logit_bias: LogitBias | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    stop_token_ids: StopTokens | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] = 0
    ignore_eos: bool = Field(False, description="Whether an answer goes on to its greatest length.")
    n: Annotated[int, Field(ge=1, le=8)] = 1
    structured_outputs: StructuredOutputs | None = None
    routing: Routing = True
    service_tier: ServiceTier = None
    user: Text | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise refused("invalid_value", "stream_options", "needs 'stream': true; add it")
        return self

    @model_validator(mode="after")
    def _least_is_no_more_than_most(self) -> Self:
        if self.most_tokens is not None and self.min_tokens > self.most_tokens:
            message = f"is more than the {self.most_tokens:,} tokens that an answer may have"
            raise refused("invalid_value", "min_tokens", message)
        return self

    @property
    def most_tokens(self) -> int | None:
        """Tokens of an answer at most, as far as the request says."""
        return self.max_tokens

    @property
    def sampling(self) -> Sampling:
        """What is asked of the sampling."""
        return Sampling(
            max_tokens=self.most_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            # As others have it, -1 too keeps all.
            top_k=None if self.top_k is None else max(self.top_k, 0),
            min_p=self.min_p,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            repetition_penalty=self.repetition_penalty,
            logit_bias=_biases(self.logit_bias),
            seed=self.seed,
            stop=None if self.stop is None else tuple(self.stop),
            stop_token_ids=tuple(self.stop_token_ids) if self.stop_token_ids else None,
            min_tokens=self.min_tokens or None,
            ignore_eos=self.ignore_eos or None,
        )


def _biases(given: dict[str, float] | None) -> tuple[tuple[int, float], ...] | None:
    return tuple((int(token), bias) for token, bias in given.items()) if given else None
