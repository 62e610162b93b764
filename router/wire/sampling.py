"""The sampling parameters that chats and completions share."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from router.sampling import Sampling
from router.wire.base import Body, StreamOptions, Text, bounded, refused

Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Stop = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=256)]],
    bounded(4, "stop texts"),
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class GenerationRequest(Body):
    """How an answer is drawn and delivered.

    Ranges are OpenAI's; what is left out, the card of whoever answers decides, or the base.
    """

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "presence_penalty": (0,),
    }

    model: Annotated[Text, Field(min_length=1, max_length=256, examples=["auto", "owner/name"])]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Count | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    n: Annotated[int, Field(ge=1, le=8)] = 1
    user: Text | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise refused("invalid_value", "stream_options", "needs 'stream': true; add it")
        return self

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def sampling(self) -> Sampling:
        """What is asked of the sampling."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=None if self.stop is None else tuple(self.stop),
        )
