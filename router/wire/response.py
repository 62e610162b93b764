"""The request body of `POST /v1/responses`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Tag

from router.engine import Generation, Message
from router.sampling import Sampling
from router.wire.base import Body, ModelName, Share, Text, bounded
from router.wire.chat import MAX_MESSAGES, MAX_PARTS, TEXT_OR_PARTS, joined, message
from router.wire.response_format import schema_text
from router.wire.routing_options import Routing
from router.wire.sampling import Count, Temperature


class Part(Body):
    """A piece of a message: what was asked, or what was answered."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "image_url": (),
        "file_id": (),
        "file_data": (),
        "file_url": (),
    }
    ignored: ClassVar[frozenset[str]] = frozenset({"annotations", "logprobs", "detail"})

    type: Literal["input_text", "output_text", "text"]
    text: Text


Parts = Annotated[list[Part], Field(fail_fast=True), bounded(MAX_PARTS, "parts")]


class Item(Body):
    """One turn of the conversation; answers of this API can be sent back as they came."""

    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase"})

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[Text, Tag("(text)")] | Annotated[Parts, Tag("(parts)")],
        TEXT_OR_PARTS,
    ]

    @property
    def message(self) -> Message:
        """The turn as engines take it."""
        return message(self.role, joined(self.content))


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


def _as_items(value: object) -> object:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


Items = Annotated[
    list[Item],
    Field(min_length=1, fail_fast=True),
    bounded(MAX_MESSAGES, "items"),
    BeforeValidator(_as_items),
]


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
        "parallel_tool_calls": (True, False),
        "previous_response_id": (),
        "prompt": (),
        "reasoning": ({}, {"effort": "none"}, {"effort": None}),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "stream_options": ({}, {"include_obfuscation": False}),
        "tool_choice": ("auto", "none"),
        "tools": ([],),
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
    stream: bool = False
    user: Text | None = None
    routing: Routing = Field(
        True, description="What is asked of `auto`, or whether the answer says who answered."
    )

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation, the instructions before it."""
        before = (Message("system", self.instructions),) if self.instructions else ()
        return (*before, *(item.message for item in self.input))

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
        )
