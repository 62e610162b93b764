"""Engine items gathered: one answer from many deltas, one stream from many generations."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from router.engine import (
    NOTHING,
    CallDelta,
    Delta,
    Engine,
    FinishReason,
    Generation,
    Items,
    Reading,
    ToolCall,
    Usage,
)
from router.errors import Unavailable


@dataclass(slots=True)
class Choice:
    """One finished continuation: `thoughts`, then `text`.

    `logprobs` are packed; `stopped_by` is the stop text, if any. Of a prompt that is not to be
    answered it is the text, and how that was `read`.
    """

    index: int
    text: str = ""
    logprobs: list[bytes] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    stopped_by: str | None = None
    thoughts: str = ""
    read: Reading | None = None

    def add(self, delta: Delta) -> None:
        """Append what a delta brings."""
        self.text += delta.text
        self.thoughts += delta.thought
        self.logprobs.extend(delta.logprobs)
        for piece in delta.calls:
            self._add_call(piece)
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.stopped_by = delta.stopped_by or self.stopped_by
        self.read = delta.read or self.read

    def _add_call(self, piece: CallDelta) -> None:
        if piece.name is not None:
            self.calls.append(ToolCall(piece.name, piece.arguments))
        else:
            call = self.calls[piece.index]
            self.calls[piece.index] = replace(call, arguments=call.arguments + piece.arguments)


async def collect(items: Items, count: int) -> tuple[list[Choice], Usage]:
    """All `count` continuations in full. Closes `items`, whatever happens.

    Raises:
        Unavailable: The engine ended without saying that it was done.
    """
    choices = [Choice(index) for index in range(count)]
    usage: Usage | None = None
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Usage):
                usage = item
            else:
                choices[item.index].add(item)
    if usage is None:
        raise cut_short()
    return choices, usage


def cut_short() -> Unavailable:
    """The error for an engine that ended without saying that it was done."""
    return Unavailable(message="The engine ended before the answer was complete; ask again.")


async def generate_all(engine: Engine, generations: Sequence[Generation]) -> Items:
    """Run generations side by side as one: their indices in order, their usage summed."""
    offsets = [sum(g.n for g in generations[:at]) for at in range(len(generations))]
    sources = [engine.generate(generation) for generation in generations]
    usages: list[Usage] = []
    async with aclosing(_merged(sources)) as merged:
        async for at, item in merged:
            if isinstance(item, Usage):
                usages.append(item)
            else:
                yield replace(item, index=item.index + offsets[at])
    if len(usages) < len(sources):
        raise cut_short()
    yield sum(usages, NOTHING)


async def _merged(sources: Sequence[Items]) -> AsyncGenerator[tuple[int, Delta | Usage], None]:
    """Items of all sources as they come, with their source's position; closes all at the end."""
    waiting = {asyncio.ensure_future(_next(source)): at for at, source in enumerate(sources)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                at, item = waiting.pop(task), task.result()
                if item is not None:
                    waiting[asyncio.ensure_future(_next(sources[at]))] = at
                    yield at, item
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for source in sources:
            await source.aclose()


async def _next(source: Items) -> Delta | Usage | None:
    """A source's next item; None after its last."""
    return await anext(source, None)
