"""The request body of `POST /v1/responses`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from router.engine import Generation, Message
from router.sampling import Sampling
from router.wire.base import Body, ModelName, Share, Text
from router.wire.response_format import schema_text
from router.wire.response_items import Items, check_results, messages
from router.wire.routing_options import Routing
from router.wire.sampling import Count, Temperature
from router.wire.tools import FlatChoice, FlatTools, check_choice, tool_use


class Format(Body):
    """What the answer must look like."""

    ignored: ClassVar[frozenset[str]] = frozenset({"name", "description", "strict"})

    type: Literal["text", "json_object", "json_schema"] = "text"
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    @property
    def schema_text(self) -> str | None:
        """The schema of the answer; None leaves it free."""
        return schema_text(self.type, self.schema_)


class TextOptions(Body):
    """The field `text`."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {"verbosity": ("medium",)}

    format: Format = Format()


class ResponseRequest(Body):
    """A conversation to be answered. Nothing of it is kept: each request brings all of it."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"include", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
    )  # fmt: skip
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "background": (False,),
        "context_management": (),
        "conversation": (),
        "max_tool_calls": (),
        "previous_response_id": (),
        "prompt": (),
        "reasoning": ({}, {"effort": "none"}, {"effort": None}),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "stream_options": ({}, {"include_obfuscation": False}),
        "top_logprobs": (0,),
        "truncation": ("disabled",),
    }

    model: ModelName
    input: Items
    instructions: Text | None = None
    max_output_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    text: TextOptions = TextOptions()
    tools: FlatTools = Field(default_factory=list)
    tool_choice: FlatChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool = False
    user: Text | None = None
    routing: Routing = Field(
        True, description="What is asked of `auto`, or whether the answer says who answered."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        check_results(self.input)
        check_choice(self.tools, self.tool_choice)
        return self

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation, the instructions before it."""
        before = (Message("system", self.instructions),) if self.instructions else ()
        return (*before, *messages(self.input))

    @property
    def turns(self) -> list[str]:
        """The texts of the user's messages, oldest first."""
        return [message.content for message in self.messages if message.role == "user"]

    @property
    def sampling(self) -> Sampling:
        """What is asked of the sampling."""
        return Sampling(
            max_tokens=self.max_output_tokens, temperature=self.temperature, top_p=self.top_p
        )

    def generation(self, request_id: str, adapter: str | None, sampling: Sampling) -> Generation:
        """What is asked of the engine, answered with the given adapter."""
        return Generation(
            request_id=request_id,
            adapter=adapter,
            prompt=self.messages,
            sampling=sampling,
            schema=self.text.format.schema_text,
            tool_use=tool_use(self.tools, self.tool_choice, self.parallel_tool_calls),
        )


def as_sent(value: Body) -> dict[str, Any]:
    """What was asked, as it is told in the answer."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
