"""Answers in OpenAI's shapes: whole bodies, and the chunks of a stream."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from router.answer import Choice
from router.engine import NOTHING, Delta, Usage
from router.wire.base import StreamOptions

# OpenAI's stand-in for an impossible token, since JSON has no infinity.
LEAST_LOGPROB = -9999.0

DONE = "[DONE]"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of one answer share. `created` is in Unix seconds.

    `routing` holds the field of that name; nothing where it is not wanted. `tier` is told where it
    was asked for.
    """

    id: str
    created: int
    model: str
    routing: Json
    tier: str | None = None

    @property
    def told(self) -> Json:
        """The fields that say how it came about, as far as they are wanted."""
        tier: Json = {} if self.tier is None else {"service_tier": self.tier}
        return tier | self.routing


class Writer(ABC):
    """Writes one answer, whole or as events; keeps what must be known from event to event."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    @abstractmethod
    def body(self, choices: Sequence[Choice], usage: Usage) -> Json:
        """The whole answer; parts that may be very long are generators, to be read once."""

    @abstractmethod
    def stream_delta(self, delta: Delta) -> Iterable[Json]:
        """The data of a stream's events that a delta makes."""

    @abstractmethod
    def stream_end(self, usage: Usage) -> Iterable[Json | str]:
        """The data of a stream's last events."""

    def stream_error(self, error: Json) -> Json:
        """The data of the event that stands for what is missing, from an error's body."""
        return error

    def name(self, _data: Json) -> str | None:
        """The name of an event; None for those that go without."""
        return None


class ChoiceWriter(Writer):
    """Writes answers of choices; a stream's events are chunks."""

    body_object: str
    chunk_object: str

    def __init__(self, envelope: Envelope, options: StreamOptions | None = None) -> None:
        super().__init__(envelope)
        self._options = options or StreamOptions()
        self._so_far = NOTHING
        self._chunks = 0

    def body(self, choices: Sequence[Choice], usage: Usage) -> Json:
        """The whole answer."""
        written = [self._choice(choice) for choice in choices]
        head = self._head(self.body_object, written)
        return head | {"usage": usage_json(usage)} | self._envelope.told

    def stream_delta(self, delta: Delta) -> Iterable[Json]:
        """A chunk per delta."""
        return [self.chunk(delta)]

    def stream_end(self, usage: Usage) -> Iterable[Json | str]:
        """The usage where it was asked for, and the mark of the end."""
        last = self.usage_chunk(usage)
        return [DONE] if last is None else [last, DONE]

    def chunk(self, delta: Delta) -> Json:
        """A delta; the stream's first one also carries the routing."""
        chunk = self._head(self.chunk_object, [self._piece(delta)])
        if self._options.include_usage:
            chunk["usage"] = self._used(delta) if self._options.continuous_usage_stats else None
        if self._chunks == 0:
            chunk |= self._envelope.told
        self._chunks += 1
        return chunk

    def usage_chunk(self, usage: Usage) -> Json | None:
        """The stream's last chunk, or None where usage was not asked for."""
        if not self._options.include_usage:
            return None
        return self._head(self.chunk_object, []) | {"usage": usage_json(usage)}

    def _used(self, delta: Delta) -> Json:
        self._so_far += (delta.prompt or NOTHING) + Usage(0, delta.tokens)
        return usage_json(self._so_far)

    def _head(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self._envelope.id,
            "object": kind,
            "created": self._envelope.created,
            "model": self._envelope.model,
            "choices": choices,
        }

    @abstractmethod
    def _choice(self, choice: Choice) -> Json:
        """A finished continuation."""

    @abstractmethod
    def _piece(self, delta: Delta) -> Json:
        """A part of a continuation."""


def call_id(answer: str, choice: int, call: int) -> str:
    """By which a call's result is told; the same however often the answer is written."""
    named = f"{answer} {choice} {call}"
    return f"call_{hashlib.sha256(named.encode()).hexdigest()[:24]}"


def usage_json(usage: Usage) -> Json:
    """Token counts in OpenAI's names."""
    details = {
        "accepted_prediction_tokens": usage.accepted_tokens,
        "rejected_prediction_tokens": usage.rejected_tokens,
        "reasoning_tokens": usage.thought_tokens,
    }
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    } | ({"completion_tokens_details": details} if any(details.values()) else {})


def finite(logprob: float) -> float:
    """A log probability that JSON can carry."""
    return max(logprob, LEAST_LOGPROB)
