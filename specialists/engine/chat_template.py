"""Chats as a base's template writes them, tools and calls included."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from inspect import signature
from itertools import groupby
from typing import Any, Protocol

from jinja2 import TemplateError

from specialists.engine.calls import Call, CallFormat, Tool
from specialists.engine.control import ControlTokens
from specialists.engine.thoughts import CLOSING, MARKS, NONE, OPENING, apart
from specialists.errors import InvalidPrompt, InvalidSampling

OWN_CALLS = CallFormat(
    '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", "\n", several=False
)
"""For templates that know of no tools: as Hermes and Qwen write them.

A base that was never shown calls does not know when it has made enough of them.
"""
OWN_TOOLS = """\
You can call these functions, one JSON object per line:
<tools>
{tools}
</tools>
To call one, answer with
{call}
Its result comes back as <tool_response>."""

_NAME, _ARGUMENTS = "probe_of_calls", '{"x": "y"}'
_PROBE = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": _NAME,
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    },
}
_ASKED = {"role": "user", "content": "?"}
VARIABLES = "chat_template_kwargs"
REFUSALS = (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a template, which is a program, may raise about what it is told."""
Turn = dict[str, Any]


class ChatMessage(Protocol):
    """One message of a chat."""

    @property
    def role(self) -> str:
        """Who speaks: system, user, assistant, or a tool that gives a call's result."""

    @property
    def content(self) -> str:
        """What is said."""

    @property
    def calls(self) -> Sequence[Call]:
        """The tools that are called."""

    @property
    def thoughts(self) -> str:
        """What was thought before it was said."""


class ChatTemplate:
    """A base's chat template. What people wrote is masked where it spells a control token."""

    def __init__(self, tokenizer: Any, control: ControlTokens) -> None:
        """Take the template of a tokenizer of transformers'."""
        self._tokenizer = tokenizer
        self._control = control

    @cached_property
    def calls(self) -> CallFormat:
        """How the base writes calls: as its template does, if it knows of them."""
        return self._learnt or OWN_CALLS

    @cached_property
    def thinks(self) -> bool:
        """Whether the base marks what it thinks: its template knows of the marks."""
        template = str(self._tokenizer.chat_template)
        return OPENING in template or CLOSING in template

    def apart(self, message: ChatMessage) -> tuple[str, str]:
        """An assistant's thoughts, and its text; of a base that marks none all is text."""
        if not self.thinks or message.role != "assistant":
            return "", message.content
        thoughts, content = apart(message.content)
        return message.thoughts or thoughts, content

    def said(self, message: ChatMessage) -> str:
        """A message's text and its calls, as the base writes them."""
        _, content = self.apart(message)
        if not message.calls:
            return content
        text = [content] if content and self.calls.tag else []
        return "\n".join([*text, self.calls.write(message.calls)])

    def answered(self, asked: str, whole: str, answer: ChatMessage) -> list[str]:
        """What was added to a chat when it was answered, in parts that are tokenised apart.

        Thoughts are in it, also where the template opens them for an answer that is to come, and
        does not write those of one that was given. There are no parts where what came before was
        changed.

        Args:
            asked: as it was rendered for an answer to come.
            whole: the same with the answer, rendered.
            answer: which it was.
        """
        thoughts, _ = self.apart(answer)
        thought = self._control.mask(thoughts)
        if whole.startswith(asked):
            said = whole[len(asked) :]
            told = said.lstrip().startswith(OPENING) or asked.rstrip().endswith(MARKS)
            return [f"{OPENING}\n{thought}{NONE}", said] if thoughts and not told else [said]
        before, _, after = asked.rpartition(OPENING)
        shut = after.strip() == CLOSING
        if not self.thinks or not whole.startswith(before) or (after.strip() and not shut):
            return []
        said = whole[len(before) :].removeprefix(OPENING)
        if shut:
            return [said.removeprefix(CLOSING)]
        return [thought if said.lstrip().startswith(CLOSING) else thought + NONE, said]

    def render(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Tool],
        *,
        answer: bool,
        continued: bool,
        variables: Mapping[str, Any],
    ) -> str:
        """A chat as text.

        Args:
            messages: the chat.
            tools: what may be called.
            answer: whether to end where the assistant is to speak.
            continued: whether the last message is left open, to be gone on with.
            variables: what else the template is told.

        Raises:
            InvalidPrompt: the base's template takes no such chat.
            InvalidSampling: a variable is none that a request may set.
        """
        for name in variables:
            if name in self._settled:
                raise InvalidSampling(f"{name!r} is not for a request to set", VARIABLES)
        if self._learnt is None:
            told, turns = [], self._spelt_out(messages, tools)
        else:
            told = [_described(tool) for tool in tools]
            turns = [self._turn(each, _calling(each)) for each in messages]
        try:
            return self._write(
                self._masked(turns),
                self._masked(told),
                add_generation_prompt=answer and not continued,
                continue_final_message=continued,
                **self._masked(dict(variables)),
            )
        except REFUSALS as error:
            raise InvalidPrompt(f"the base's chat template refuses this chat: {error}") from error

    def _spelt_out(self, messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[Turn]:
        """A chat in which tools, calls and results are texts of ordinary turns."""
        turns: list[Turn] = []
        for by_tools, group in groupby(messages, lambda message: message.role == "tool"):
            if by_tools:
                results = (f"<tool_response>\n{each.content}\n</tool_response>" for each in group)
                turns.append({"role": "user", "content": "\n".join(results)})
            else:
                turns += (self._turn(each, {"content": self.said(each)}) for each in group)
        if tools:
            described = "\n".join(
                json.dumps(_described(tool), ensure_ascii=False) for tool in tools
            )
            told = OWN_TOOLS.format(tools=described, call=OWN_CALLS.example)
            before = [turns.pop(0)["content"]] if turns and turns[0]["role"] == "system" else []
            turns.insert(0, {"role": "system", "content": "\n\n".join([*before, told])})
        return turns

    def _turn(self, message: ChatMessage, said: Turn) -> Turn:
        """A turn as the template is told of it: thoughts apart, whose marks it writes itself."""
        thoughts, content = self.apart(message)
        thought = {"reasoning_content": thoughts} if thoughts else {}
        return {"role": message.role, "content": content} | thought | said

    def _write(self, turns: list[Turn], tools: list[Turn], /, **told: Any) -> str:
        template = self._tokenizer.apply_chat_template
        return str(template(turns, tools=tools or None, tokenize=False, **told))

    @cached_property
    def _settled(self) -> frozenset[str]:
        """What only we tell a template: who could name another one would say what is run here."""
        ours = signature(self._tokenizer.apply_chat_template).parameters
        names = {"self", "messages", "conversations", *ours, *self._tokenizer.special_tokens_map}
        return frozenset(names - {"documents"})

    def _masked(self, value: Any) -> Any:
        """The same, every text in it masked."""
        if isinstance(value, str):
            return self._control.mask(value)
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        if isinstance(value, dict):
            return {self._masked(name): self._masked(each) for name, each in value.items()}
        return value

    @cached_property
    def _learnt(self) -> CallFormat | None:
        """The format of calls, read off what the template writes for one, and for two."""
        asked = self._probe(0)
        one = self._written(asked, 1)
        opening, named, rest = (one or "").partition(_NAME)
        between, called, rest = rest.partition(_ARGUMENTS)
        # Calls that control tokens enclose are not read: these are no part of an answer's text.
        if not (asked and _NAME in asked and named and called and "{" in opening):
            return None
        if self._control.before(opening + between) != opening + between:
            return None
        closing = self._control.before(rest)
        two = (self._written(asked, 2) or "").removeprefix(
            opening + _NAME + between + _ARGUMENTS + closing
        )
        separator, again, _ = two.partition(opening)
        return CallFormat(opening, between, closing, separator if again else None)

    def _written(self, asked: str | None, calls: int) -> str | None:
        whole = self._probe(calls)
        return whole.removeprefix(asked) if asked and whole and whole.startswith(asked) else None

    def _probe(self, calls: int) -> str | None:
        """A chat that asks (0), or that is answered by so many calls; None if it is refused."""
        function = {"name": _NAME, "arguments": json.loads(_ARGUMENTS)}
        call = {"type": "function", "id": "123456789", "function": function}
        said = [{"role": "assistant", "content": "", "tool_calls": [call] * calls}]
        try:
            turns: list[Turn] = [_ASKED, *(said if calls else [])]
            return self._write(turns, [_PROBE], add_generation_prompt=not calls)
        except REFUSALS:
            return None


def _calling(message: ChatMessage) -> Turn:
    """What a turn has beside its text."""
    functions = (
        {"name": call.name, "arguments": json.loads(call.arguments)} for call in message.calls
    )
    calls = [{"type": "function", "function": function} for function in functions]
    return {"tool_calls": calls} if calls else {}


def _described(tool: Tool) -> Turn:
    function = {"name": tool.name, "parameters": json.loads(tool.parameters)}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}
