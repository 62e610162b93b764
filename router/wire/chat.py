"""The request body of `POST /v1/chat/completions`."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, cast

from pydantic import Discriminator, Field, Tag, model_validator

from router.engine import Generation, Message, Role, ToolUse
from router.sampling import Sampling
from router.wire.base import Body, Text, bounded, refused
from router.wire.metadata import Metadata
from router.wire.reasoning import Effort, most_thought
from router.wire.response_format import ResponseFormat
from router.wire.sampling import Count, GenerationRequest
from router.wire.tools import Calls, Function, ToolChoice, Tools, check_choice, tool_use

MAX_MESSAGES = 2048
MAX_PARTS = 256
MAX_VARIABLES = 64
NOT_TEXT = frozenset({"function_call", "audio"})
"""What an assistant's turn may hold beside its text, and is not served."""
THOUGHTS = ("reasoning_content", "reasoning")
"""What servers call an assistant's thoughts."""
# Tags in brackets are left out of the path of an error.
_CONTENT_TAGS: dict[type, str] = {str: "(text)", list: "(parts)"}
TEXT_OR_PARTS = Discriminator(
    lambda value: _CONTENT_TAGS.get(type(value)),
    custom_error_type="invalid_type",
    custom_error_message="must be a string or a list of text parts",
)


class TextPart(Body):
    """A piece of a message's content; only text is served."""

    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "file": (),
        "image_url": (),
        "input_audio": (),
        "prompt_cache_breakpoint": (),
        "refusal": (),
    }

    type: Literal["text"]
    text: str


Parts = Annotated[list[TextPart], Field(min_length=1, fail_fast=True), bounded(MAX_PARTS, "parts")]
Content = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[Parts, Tag("(parts)")],
    TEXT_OR_PARTS,
]


class HasText(Protocol):
    """A part of a message."""

    @property
    def text(self) -> str:
        """What it says."""


def joined(content: str | Sequence[HasText]) -> str:
    """A message's content as one string."""
    return content if isinstance(content, str) else "".join(part.text for part in content)


def message(role: str, text: str) -> Message:
    """A turn as engines take it; `developer` is another word for `system`."""
    return Message("system" if role == "developer" else cast(Role, role), text)


class ChatMessage(Body):
    """One turn; `developer` is another word for `system`.

    An assistant's turn may be replayed as some server sent it, with fields of its own.
    """

    ignored: ClassVar[frozenset[str]] = frozenset({"name"})
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "annotations": ([],),
        "audio": (),
        "function_call": (),
        "refusal": (),
    }

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = ""
    tool_calls: Calls = Field(default_factory=list)
    tool_call_id: Text | None = None
    reasoning_content: str = Field("", description="What was thought before it was said.")
    reasoning: str = Field("", description="The same, as vLLM calls it.")

    @classmethod
    def _ignored(cls, data: dict[str, Any]) -> Collection[str]:
        if data.get("role") != "assistant":
            return cls.ignored
        other = {field for field in THOUGHTS if not isinstance(data.get(field), str)}
        return cls.ignored | other | (data.keys() - cls.model_fields.keys() - NOT_TEXT)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.role != "assistant" and "content" not in self.model_fields_set:
            raise refused("missing", "content", "is missing; add it")
        if self.role == "tool" and self.tool_call_id is None:
            raise refused("missing", "tool_call_id", "is missing; add it")
        if self.role != "tool" and self.tool_call_id is not None:
            raise refused("invalid_value", "tool_call_id", "is for messages of the role 'tool'")
        if self.role != "assistant" and self.tool_calls:
            raise refused("invalid_value", "tool_calls", "is for messages of the assistant's")
        for field in THOUGHTS:
            if self.role != "assistant" and getattr(self, field):
                raise refused("invalid_value", field, "is for messages of the assistant's")
        return self

    @property
    def text(self) -> str:
        """The content as one string."""
        return joined(self.content)

    @property
    def message(self) -> Message:
        """The turn as engines take it."""
        calls = tuple(call.function.call for call in self.tool_calls)
        thoughts = self.reasoning_content or self.reasoning
        return replace(message(self.role, self.text), calls=calls, thoughts=thoughts)


Messages = Annotated[
    list[ChatMessage], Field(min_length=1, fail_fast=True), bounded(MAX_MESSAGES, "messages")
]


class Prediction(Body):
    """What the answer may be."""

    type: Literal["content"]
    content: Content


class ChatRequest(GenerationRequest):
    """A conversation to be continued."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
    )
    unsupported: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "audio": (),
        "function_call": ("none",),
        "functions": ([],),
        "modalities": (["text"],),
        "moderation": (),
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    messages: Messages
    response_format: ResponseFormat | None = None
    tools: Tools = Field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None
    chat_template_kwargs: Annotated[dict[str, Any], bounded(MAX_VARIABLES, "names")] = Field(
        default_factory=dict,
        description="Variables of the base's chat template; those that it has not change nothing.",
    )
    reasoning_effort: Effort | None = None
    thinking_token_budget: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Tokens that may be thought before the answer; as vLLM calls it."
    )
    max_completion_tokens: Count | None = None
    prediction: Prediction | None = Field(
        None, description="What the answer may be: as far as it is that, it comes sooner."
    )
    store: bool = Field(
        False, description="Keep the conversation, to be listed, rated and learnt from."
    )
    metadata: Metadata = Field(default_factory=dict, description="Labels, to find it by.")
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise refused("invalid_value", "top_logprobs", "needs 'logprobs': true; add it")
        self._check_ending()
        self._check_results()
        check_choice(self.functions, self.tool_choice)
        self._check_form()
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            message = "contradicts 'max_completion_tokens'; send one of the two"
            raise refused("invalid_value", "max_tokens", message)
        return self

    def _check_ending(self) -> None:
        """As vLLM has it: a new message is begun, or else the last one is gone on with."""
        if self.add_generation_prompt not in (None, not self.continue_final_message):
            message = "must be the opposite of 'continue_final_message'; remove it"
            raise refused("invalid_value", "add_generation_prompt", message)
        last = self.messages[-1]
        if self.continue_final_message and not (last.role == "assistant" and last.text.strip()):
            message = "needs a last message of the assistant's that has begun; add one"
            raise refused("invalid_value", "continue_final_message", message)
        if self.continue_final_message and self.tools:
            message = "cannot be served beside 'tools'; send one of the two"
            raise refused("invalid_value", "continue_final_message", message)

    def _check_form(self) -> None:
        """Nothing else says what an answer must look like beside `structured_outputs`."""
        format_ = self.response_format
        others = {"response_format": format_ and format_.schema_text, "tools": self.use}
        beside = [name for name, asked in others.items() if asked]
        if self.structured_outputs is not None and beside:
            message = f"cannot be served beside '{beside[0]}'; send one of the two"
            raise refused("invalid_value", "structured_outputs", message)

    def _check_results(self) -> None:
        """A tool's message answers a call that was made before it."""
        called: set[str] = set()
        for at, turn in enumerate(self.messages):
            called |= {call.id for call in turn.tool_calls}
            if turn.tool_call_id is not None and turn.tool_call_id not in called:
                message = "is the id of no call before it; send the assistant's 'tool_calls' too"
                raise refused("invalid_value", f"messages[{at}].tool_call_id", message)

    @property
    def functions(self) -> list[Function]:
        """What may be called."""
        return [tool.function for tool in self.tools]

    @property
    def use(self) -> ToolUse | None:
        """Which of them, and whether they must; None if nothing may be called."""
        return tool_use(self.functions, self.tool_choice, self.parallel_tool_calls)

    @property
    def turns(self) -> list[str]:
        """The texts of the user's messages, oldest first."""
        return [message.text for message in self.messages if message.role == "user"]

    @property
    def asked(self) -> dict[str, Any]:
        """What was sent to be answered, in the words of the API."""
        return self.model_dump(
            mode="json", by_alias=True, include={"messages", "tools"}, exclude_defaults=True
        )

    @property
    def most_tokens(self) -> int | None:
        """Tokens of an answer at most, as far as the request says."""
        return self.max_completion_tokens or self.max_tokens

    def generation(self, request_id: str, adapter: str | None, sampling: Sampling) -> Generation:
        """What is asked of the engine, answered with the given adapter."""
        form = self.structured_outputs or self.response_format
        return Generation(
            request_id=request_id,
            adapter=adapter,
            prompt=tuple(message.message for message in self.messages),
            n=self.n,
            sampling=sampling,
            continued=self.continue_final_message,
            variables=json.dumps(told) if (told := self.chat_template_kwargs) else None,
            most_thought=most_thought(self.reasoning_effort, self.thinking_token_budget),
            schema=None if form is None else form.schema_text,
            rules=None if self.structured_outputs is None else self.structured_outputs.rules,
            tool_use=self.use,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            expected="" if self.prediction is None else joined(self.prediction.content),
        )
