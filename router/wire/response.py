"""The request body of `POST /v1/responses`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from router.engine import Generation, Message
from router.errors import InvalidRequest
from router.sampling import Sampling
from router.wire.base import Body, ModelName, Share, Text, refused
from router.wire.chat import ChatMessage
from router.wire.metadata import Metadata
from router.wire.reasoning import Reasoning, most_thought
from router.wire.response_format import schema_text
from router.wire.response_items import Items, turns, unasked
from router.wire.routing_options import Routing
from router.wire.sampling import Count, ServiceTier, Temperature
from router.wire.tools import FlatChoice, FlatTools, check_choice, tool_use

UNASKED = "is the id of no call before it; send the 'function_call' too"


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
    """A conversation to be answered: all of it, or what comes after a kept answer."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"include", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
    )
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "background": (False,),
        "context_management": (),
        "conversation": (),
        "max_tool_calls": (),
        "prompt": (),
        "stream_options": ({}, {"include_obfuscation": False}),
        "top_logprobs": (0,),
        "truncation": ("disabled",),
    }

    model: ModelName
    input: Items
    instructions: str | None = None
    reasoning: Reasoning = Reasoning()
    max_output_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    text: TextOptions = TextOptions()
    tools: FlatTools = Field(default_factory=list)
    tool_choice: FlatChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool = False
    service_tier: ServiceTier = None
    store: bool = Field(
        False, description="Keep the answer, to be gone on with, rated and learnt from."
    )
    metadata: Metadata = Field(default_factory=dict, description="Labels, to find it by.")
    previous_response_id: Annotated[Text, Field(max_length=256)] | None = Field(
        None, description="The kept answer that this goes on from."
    )
    user: Text | None = None
    routing: Routing = True

    _earlier: tuple[ChatMessage, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        at = None if self.previous_response_id else unasked(self.input)
        if at is not None:
            raise refused("invalid_value", f"input[{at}].call_id", UNASKED)
        check_choice(self.tools, self.tool_choice)
        return self

    def after(self, earlier: Sequence[ChatMessage]) -> Self:
        """The same request, after what was said before it.

        Raises:
            InvalidRequest: it has the result of a call that is not among that.
        """
        called = [call.id for turn in earlier for call in turn.tool_calls]
        at = unasked(self.input, called)
        if at is not None:
            field = f"input[{at}].call_id"
            raise InvalidRequest(f"'{field}' {UNASKED}.", param=field)
        whole = self.model_copy()
        whole._earlier = tuple(earlier)
        return whole

    @cached_property
    def chat(self) -> list[ChatMessage]:
        """The whole conversation, the instructions before it."""
        said = ChatMessage(role="system", content=self.instructions or "")
        before = [said] if self.instructions else []
        return [*before, *self._earlier, *turns(self.input)]

    @property
    def messages(self) -> tuple[Message, ...]:
        """The same as engines take it."""
        return tuple(turn.message for turn in self.chat)

    @property
    def asked(self) -> dict[str, Any]:
        """What was sent to be answered, in the words of chats."""
        written = [turn.model_dump(mode="json", exclude_defaults=True) for turn in self.chat]
        functions = (tool.model_dump(exclude={"type"}, exclude_none=True) for tool in self.tools)
        tools = [{"type": "function", "function": function} for function in functions]
        return {"messages": written} | ({"tools": tools} if tools else {})

    @property
    def turns(self) -> list[str]:
        """The texts of the user's messages, oldest first."""
        return [turn.text for turn in self.chat if turn.role == "user"]

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
            most_thought=most_thought(self.reasoning.effort),
            schema=self.text.format.schema_text,
            tool_use=tool_use(self.tools, self.tool_choice, self.parallel_tool_calls),
        )


def as_sent(value: Body) -> dict[str, Any]:
    """What was asked, as it is told in the answer."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
