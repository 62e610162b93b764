"""Chats one after the other, as somebody has who looks at a screen."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from openai import OpenAI

from benchmarks.report import Row, at_most

CHAT_TOKENS = 64


@dataclass
class Chats:
    """What chats found: of each its first token's time and its mean gap between tokens."""

    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def __add__(self, other: "Chats") -> "Chats":
        """Both together."""
        return Chats(self.firsts + other.firsts, self.gaps + other.gaps)


def chats(client: OpenAI, model: str, enough: Callable[[], bool]) -> Chats:
    """One stream after the other, until it is enough."""
    found = Chats()
    while not enough():
        began = time.perf_counter()
        first, last, tokens = 0.0, 0.0, 0
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": f"Tell me about the number {len(found.gaps)}."}],
            temperature=0,
            max_tokens=CHAT_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
            if chunk.choices and chunk.choices[0].delta.content:
                last = time.perf_counter()
                first = first or last
        found.firsts.append(first - began)
        found.gaps.append((last - first) / max(tokens - 1, 1))
    return found


def after(seconds: float) -> Callable[[], bool]:
    """Whether so much time is over."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def compared(name: str, alone: Chats, among: Chats, beside: str) -> Iterator[Row]:
    """What chats notice of something else: at most half as much again."""
    for what, one, other in (
        ("first token", alone.firsts, among.firsts),
        ("gap", alone.gaps, among.gaps),
    ):
        yield Row(f"{name}.{what} alone", 1000 * statistics.median(one), "ms")
        ratio = statistics.median(other) / statistics.median(one)
        yield at_most(f"{name}.{what} {beside}", ratio, "times", 1.5)
