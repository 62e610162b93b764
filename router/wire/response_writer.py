"""Answers of `POST /v1/responses`: one object, or the events by which it grows."""

from collections.abc import Iterator, Sequence
from typing import Any

from router.answer import Choice
from router.engine import Delta, Usage
from router.sampling import Sampling
from router.wire.response import ResponseRequest
from router.wire.writer import Envelope, Json, Writer


class ResponseWriter(Writer):
    """Writes `response`, whole and as events, which are numbered in order."""

    def __init__(self, envelope: Envelope, asked: ResponseRequest, sampling: Sampling) -> None:
        super().__init__(envelope)
        self._asked = asked
        self._sampling = sampling
        self._item = envelope.id.replace("resp-", "msg-", 1)
        self._number = 0
        self._text: list[str] = []
        self._finish: str | None = None

    def body(self, choices: Sequence[Choice], usage: Usage) -> Json:
        """The whole answer."""
        [choice] = choices
        return self._response(choice.text, choice.finish_reason, usage)

    def stream_delta(self, delta: Delta) -> Iterator[Json]:
        """What a delta adds; the first one begins the answer too."""
        if self._number == 0:
            yield from self._beginning()
        self._text.append(delta.text)
        self._finish = delta.finish_reason or self._finish
        if delta.text:
            yield self._event(
                "response.output_text.delta", **self._place(), delta=delta.text, logprobs=[]
            )

    def stream_end(self, usage: Usage) -> Iterator[Json]:
        """The parts once more in full, from the smallest to the whole."""
        if self._number == 0:
            yield from self._beginning()
        text = "".join(self._text)
        part = _part(text)
        yield self._event("response.output_text.done", **self._place(), text=text, logprobs=[])
        yield self._event("response.content_part.done", **self._place(), part=part)
        item = self._message(text, self._finish)
        yield self._event("response.output_item.done", output_index=0, item=item)
        whole = self._response(text, self._finish, usage)
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
        empty = self._response("", None, None)
        yield self._event("response.created", response=empty)
        yield self._event("response.in_progress", response=empty)
        item = {**self._message("", None), "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._place(), part=_part(""))

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event

    def _place(self) -> Json:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    def _message(self, text: str, finish: str | None) -> Json:
        return {
            "id": self._item,
            "type": "message",
            "status": _status(finish),
            "role": "assistant",
            "content": [_part(text)],
        }

    def _response(self, text: str, finish: str | None, usage: Usage | None) -> Json:
        envelope, asked = self._envelope, self._asked
        status = _status(finish)
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
            "output": [] if usage is None else [self._message(text, finish)],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": self._sampling.temperature,
            "text": asked.text.model_dump(by_alias=True, exclude_none=True),
            "tool_choice": "auto",
            "tools": [],
            "top_p": self._sampling.top_p,
            "truncation": "disabled",
            "usage": None if usage is None else _usage(usage),
            "metadata": {},
            **envelope.routing,
        }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(finish: str | None) -> str:
    return {None: "in_progress", "length": "incomplete"}.get(finish, "completed")


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
