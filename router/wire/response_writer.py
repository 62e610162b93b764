"""Answers of `POST /v1/responses`: one object, or the events by which it grows."""

from collections.abc import Iterator, Sequence
from typing import Any

from router.answer import Choice
from router.engine import Delta, Usage
from router.sampling import Sampling
from router.wire.base import Body
from router.wire.response import ResponseRequest, as_sent
from router.wire.response_items import output_part, reasoning_item, reasoning_part
from router.wire.tools import AnyChoice
from router.wire.writer import Envelope, Json, Writer, call_id

THOUGHTS, MESSAGE = -2, -1
"""Items of an answer: what was thought, and its text; calls go by their numbers."""
PARTS = {THOUGHTS: reasoning_part, MESSAGE: output_part}
NAMED = {THOUGHTS: "rs-", MESSAGE: "msg-"}


class ResponseWriter(Writer):
    """Writes `response`, whole and as events, which are numbered in order."""

    def __init__(self, envelope: Envelope, asked: ResponseRequest, sampling: Sampling) -> None:
        super().__init__(envelope)
        self._asked = asked
        self._sampling = sampling
        self._number = 0
        self._choice = Choice(0)
        self._begun: list[int] = []

    def body(self, choices: Sequence[Choice], usage: Usage) -> Json:
        """The whole answer."""
        [choice] = choices
        thought = [THOUGHTS] if choice.thoughts else []
        text = [MESSAGE] if choice.text or not choice.calls else []
        return self._response(choice, [*thought, *text, *range(len(choice.calls))], usage)

    def stream_delta(self, delta: Delta) -> Iterator[Json]:
        """What a delta adds; the first one begins the answer too."""
        if self._number == 0:
            yield from self._beginning()
        self._choice.add(delta)
        if delta.thought:
            yield from self._begin(THOUGHTS)
            place = self._place(THOUGHTS)
            yield self._event("response.reasoning_text.delta", **place, delta=delta.thought)
        if delta.text:
            yield from self._begin(MESSAGE)
            place = self._place(MESSAGE)
            yield self._event("response.output_text.delta", **place, delta=delta.text, logprobs=[])
        for piece in delta.calls:
            yield from self._begin(piece.index)
            if piece.arguments:
                told = {**self._place(piece.index), "delta": piece.arguments}
                yield self._event("response.function_call_arguments.delta", **told)

    def stream_end(self, usage: Usage) -> Iterator[Json]:
        """The parts once more in full, from the smallest to the whole."""
        if self._number == 0:
            yield from self._beginning()
        if not self._choice.text and not self._choice.calls:
            yield from self._begin(MESSAGE)
        for at, which in enumerate(self._begun):
            yield from self._ending(which)
            item = self._item(self._choice, which)
            yield self._event("response.output_item.done", output_index=at, item=item)
        whole = self._response(self._choice, self._begun, usage)
        yield self._event(f"response.{whole['status']}", response=whole)

    def stream_error(self, error: Json) -> Json:
        """An error in the place of what is missing."""
        told = {name: error["error"][name] for name in ("code", "message", "param")}
        # Beside the documented fields the object that makes OpenAI's clients raise.
        return self._event("error", **told, **error)

    def name(self, data: Json) -> str | None:
        """Events go by their type."""
        return str(data["type"])

    def _beginning(self) -> Iterator[Json]:
        empty = self._response(self._choice, [], None)
        yield self._event("response.created", response=empty)
        yield self._event("response.in_progress", response=empty)

    def _begin(self, which: int) -> Iterator[Json]:
        """Begin an item, unless it has begun."""
        if which in self._begun:
            return
        self._begun.append(which)
        empty: Json = {"content": []} if which < 0 else {"arguments": ""}
        item = self._item(self._choice, which) | empty | {"status": "in_progress"}
        at = len(self._begun) - 1
        yield self._event("response.output_item.added", output_index=at, item=item)
        if which < 0:
            part = PARTS[which]("")
            yield self._event("response.content_part.added", **self._place(which), part=part)

    def _ending(self, which: int) -> Iterator[Json]:
        """An item's content in full."""
        place = self._place(which)
        if which == MESSAGE:
            text = self._choice.text
            yield self._event("response.output_text.done", **place, text=text, logprobs=[])
            yield self._event("response.content_part.done", **place, part=output_part(text))
        elif which == THOUGHTS:
            text = self._choice.thoughts
            yield self._event("response.reasoning_text.done", **place, text=text)
            yield self._event("response.content_part.done", **place, part=reasoning_part(text))
        else:
            call = self._choice.calls[which]
            told = {**place, "name": call.name, "arguments": call.arguments}
            yield self._event("response.function_call_arguments.done", **told)

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event

    def _place(self, which: int) -> Json:
        place = {"item_id": self._id(which), "output_index": self._begun.index(which)}
        return place | {"content_index": 0} if which < 0 else place

    def _id(self, which: int) -> str:
        """Of an item."""
        if which < 0:
            return self._envelope.id.replace("resp-", NAMED[which], 1)
        return call_id(self._envelope.id, 0, which).replace("call_", "fc_", 1)

    def _item(self, choice: Choice, which: int) -> Json:
        item = {"id": self._id(which), "status": _status(choice.finish_reason)}
        if which == THOUGHTS:
            return item | reasoning_item(choice.thoughts)
        if which == MESSAGE:
            content = [output_part(choice.text)]
            return item | {"type": "message", "role": "assistant", "content": content}
        call = choice.calls[which]
        told = {"call_id": call_id(self._envelope.id, 0, which), "type": "function_call"}
        return item | told | {"name": call.name, "arguments": call.arguments}

    def _response(self, choice: Choice, items: Sequence[int], usage: Usage | None) -> Json:
        envelope, asked = self._envelope, self._asked
        status = _status(choice.finish_reason if usage is not None else None)
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": envelope.id,
            "object": "response",
            "created_at": envelope.created,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "instructions": asked.instructions,
            "max_output_tokens": self._sampling.max_tokens,
            "model": envelope.model,
            "output": [self._item(choice, which) for which in items],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": asked.previous_response_id,
            "reasoning": {"effort": asked.reasoning.effort, "summary": None},
            "store": asked.store,
            "temperature": self._sampling.temperature,
            "text": as_sent(asked.text),
            "tool_choice": _choice(asked.tool_choice),
            "tools": [as_sent(tool) for tool in asked.tools],
            "top_p": self._sampling.top_p,
            "truncation": "disabled",
            "usage": None if usage is None else _usage(usage),
            "metadata": dict(asked.metadata),
            **envelope.told,
        }


def _choice(choice: AnyChoice) -> Json | str:
    return as_sent(choice) if isinstance(choice, Body) else choice or "auto"


def _status(finish: str | None) -> str:
    return {None: "in_progress", "length": "incomplete"}.get(finish, "completed")


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.thought_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
