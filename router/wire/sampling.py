"""The sampling parameters that chats and completions share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

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


class Sampling(Body):
    """How an answer is drawn and delivered. Ranges and defaults are OpenAI's."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "presence_penalty": (0,),
    }

    model: Annotated[Text, Field(min_length=1, max_length=256, examples=["auto", "owner/name"])]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop = Field(default_factory=list)
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

    def sampling(self) -> dict[str, Any]:
        """The fields of a `Generation` that all requests set alike."""
        return {
            "n": self.n,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": tuple(self.stop),
        }
