"""The request body of `POST /v1/messages`, as Anthropic's clients send it."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from router.engine import Generation
from router.sampling import Sampling
from router.wire.base import Body, ModelName, Share, Text, bounded, refused
from router.wire.chat import ChatMessage, joined
from router.wire.messages_blocks import TextOrTexts, ToolResult, ToolUse, Turns
from router.wire.messages_tools import Choosing, Tools
from router.wire.reasoning import Effort, most_thought
from router.wire.response_format import schema_text
from router.wire.routing_options import Routing
from router.wire.sampling import FLEX, Count, StopText, Temperature
from router.wire.tools import check_choice, tool_use

MAX_STOPS = 16


class OutputFormat(Body):
    """What the answer must look like."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Body):
    """The field `output_config`."""

    effort: Effort | None = None
    format: OutputFormat | None = None


class Thinking(Body):
    """How much to think before the answer, and whether to say what."""

    ignored: ClassVar[frozenset[str]] = frozenset({"display"})

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Count | None = None

    @model_validator(mode="after")
    def _has_a_budget_where_it_needs_one(self) -> Self:
        if self.type == "enabled" and self.budget_tokens is None:
            raise refused("missing", "budget_tokens", "is missing; add it")
        return self

    @property
    def wanted(self) -> bool:
        """Whether to."""
        return self.type != "disabled"

    @property
    def most(self) -> int | None:
        """Tokens of thoughts; None is as many as the base likes."""
        return self.budget_tokens if self.wanted else 0


class Whose(Body):
    """The field `metadata`."""

    user_id: Text | None = None


class MessagesRequest(Body):
    """A conversation to be answered; what the last message begins to answer is gone on with."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {
            "cache_control",
            "diagnostics",
            "inference_geo",
            "user_profile_id",
            "workspace_id",
        }
    )
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "container": (),
        "context_management": (),
        "mcp_servers": ([],),
        "speed": ("standard",),
    }

    model: ModelName
    messages: Turns
    max_tokens: Count | None = None
    system: TextOrTexts = ""
    stop_sequences: Annotated[list[StopText], bounded(MAX_STOPS, "stop sequences")] = Field(
        default_factory=list
    )
    stream: bool = False
    temperature: Temperature | None = None
    top_k: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    top_p: Share | None = None
    tools: Tools = Field(default_factory=list)
    tool_choice: Choosing = Choosing(type="auto")
    thinking: Thinking = Thinking(type="disabled")
    output_config: OutputConfig = OutputConfig()
    metadata: Whose = Whose()
    service_tier: Annotated[Literal["auto", "standard_only", "flex"] | None, FLEX] = None
    routing: Routing = True

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        self._check_ending()
        self._check_results()
        check_choice(self.tools, self.tool_choice.choice)
        return self

    def _check_ending(self) -> None:
        last, where = self.messages[-1], f"messages[{len(self.messages) - 1}]"
        if last.calls:
            message = "ends with a call; add a message with its 'tool_result'"
            raise refused("invalid_value", where, message)
        if self.continues and not last.texts.strip():
            message = "must say something for the answer to go on with; remove it, or add to it"
            raise refused("invalid_value", where, message)
        if self.continues and self.tools:
            message = "cannot be gone on with beside 'tools'; send one of the two"
            raise refused("invalid_value", where, message)

    def _check_results(self) -> None:
        """A result is of a call that was made before it."""
        called: set[str] = set()
        for at, block, where in self._blocks():
            if isinstance(block, ToolUse):
                called.add(block.id)
            elif isinstance(block, ToolResult) and block.tool_use_id not in called:
                message = "is the id of no call before it; send the 'tool_use' too"
                field = f"messages[{at}].content[{where}].tool_use_id"
                raise refused("invalid_value", field, message)

    def _blocks(self) -> Iterable[tuple[int, Any, int]]:
        for at, turn in enumerate(self.messages):
            for where, block in enumerate(turn.blocks):
                yield at, block, where

    @property
    def continues(self) -> bool:
        """Whether the answer goes on with the last message."""
        return self.messages[-1].role == "assistant"

    @property
    def user(self) -> str | None:
        """Whose request it is, if it says."""
        return self.metadata.user_id

    @cached_property
    def chat(self) -> list[ChatMessage]:
        """The whole conversation, what the system is told before it."""
        system = joined(self.system)
        before = [ChatMessage(role="system", content=system)] if system else []
        return [*before, *(turn for message in self.messages for turn in message.chat)]

    @property
    def turns(self) -> list[str]:
        """The texts of the user's messages, oldest first."""
        return [turn.text for turn in self.chat if turn.role == "user"]

    @property
    def sampling(self) -> Sampling:
        """What is asked of the sampling."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            stop=tuple(self.stop_sequences) or None,
        )

    def generation(self, request_id: str, adapter: str | None, sampling: Sampling) -> Generation:
        """What is asked of the engine, answered with the given adapter."""
        several = False if self.tool_choice.disable_parallel_tool_use else None
        format_ = self.output_config.format
        return Generation(
            request_id=request_id,
            adapter=adapter,
            prompt=tuple(turn.message for turn in self.chat),
            sampling=sampling,
            continued=self.continues,
            most_thought=most_thought(self.output_config.effort, self.thinking.most),
            schema=None if format_ is None else schema_text(format_.type, format_.schema_),
            tool_use=tool_use(self.tools, self.tool_choice.choice, several),
        )
