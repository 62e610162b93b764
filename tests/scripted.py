"""The fake engine: answers from a script, and remembers what it was asked."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

from router.engine import Delta, Generation, Items, Reading, Usage
from router.errors import Overloaded


class Hold:
    """A pause in a script, until any thread calls `release`."""

    def __init__(self) -> None:
        self._released: Future[None] = Future()

    def release(self) -> None:
        """Let the script go on."""
        self._released.set_result(None)

    async def wait(self) -> None:
        """Pause here."""
        await asyncio.shield(asyncio.wrap_future(self._released))


Script = Sequence[Delta | Usage | Exception | Hold]


def echo(generation: Generation) -> Script:
    """One delta per word of the prompt's last text, for each continuation."""
    prompt = generation.prompt
    text = prompt[-1] if isinstance(prompt, tuple) else prompt
    words = str(getattr(text, "content", text)).split(" ")
    if generation.echo and not generation.n:
        read = Reading(tuple(range(len(words))), tuple(words), 8192)
        return [Delta(0, " ".join(words), 0, read=read), Usage(len(words), 0)]
    spaced = [words[0], *(f" {word}" for word in words[1:])]
    deltas = [
        Delta(index, word, 1, finish_reason="stop" if at == len(spaced) - 1 else None)
        for at, word in enumerate(spaced)
        for index in range(generation.n)
    ]
    deltas[:1] = [replace(first, prompt=Usage(len(words), 0)) for first in deltas[:1]]
    return [*deltas, Usage(len(words), len(deltas))]


def thinker(generation: Generation) -> Script:
    """An answer that is thought over: "I see.", then "Yes."; of four tokens, half of them each."""
    pieces = [("I ", ""), ("see.", ""), ("", "Ye"), ("", "s.")]
    deltas = [
        Delta(row, text, 1, thought=thought, finish_reason="stop" if text == "s." else None)
        for thought, text in pieces
        for row in range(generation.n)
    ]
    return [*deltas, Usage(3, len(deltas), thought_tokens=len(deltas) // 2)]


class ScriptedEngine:
    """Plays one script per generation: items are yielded, errors raised, holds waited at.

    Attributes:
        generations: What was asked, in order.
        began: Set as soon as any generation is asked for.
        closed: Set once every iterator that was begun has ended or been closed.
        aborted: Request ids of the generations that were not played to their end.
        is_ready: What `ready` answers.
        full: Whether nothing is taken on.
        expected: Tenants that hold a place for what they have not asked for yet.
        prefetched: What was to be at hand, each with whether others may make room.
        held: Adapters that are in memory.
    """

    def __init__(self, script: Callable[[Generation], Script] = echo) -> None:
        self.script = script
        self.generations: list[Generation] = []
        self.began = threading.Event()
        self.closed = threading.Event()
        self.aborted: list[str] = []
        self.is_ready = True
        self.full = False
        self.expected: list[str | None] = []
        self.prefetched: list[tuple[str, bool]] = []
        self.held: set[str] = set()
        self._open = 0

    async def generate(self, generation: Generation) -> Items:
        """Play the script."""
        self.generations.append(generation)
        self._open += 1
        self.closed.clear()
        self.began.set()
        finished = False
        try:
            for item in self.script(generation):
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Hold):
                    await item.wait()
                else:
                    yield item
            finished = True
        finally:
            if not finished:
                self.aborted.append(generation.request_id)
            self._open -= 1
            if not self._open:
                self.closed.set()

    @contextmanager
    def place(self, tenant: str | None) -> Iterator[None]:
        """There is one, unless `full` says otherwise; `expected` has whose are held."""
        if self.full:
            raise Overloaded()
        self.expected.append(tenant)
        try:
            yield
        finally:
            self.expected.remove(tenant)

    def resident(self, adapter: str) -> bool:
        """Whether it is among those that are `held`."""
        return adapter in self.held

    async def prefetch(self, adapters: Sequence[str], *, evicts: bool) -> None:
        """Remember it."""
        self.prefetched += [(adapter, evicts) for adapter in adapters]

    async def ready(self) -> bool:
        """Whatever `is_ready` says."""
        return self.is_ready

    async def stats(self) -> Mapping[str, Mapping[str, float]]:
        """How many generations were asked for."""
        return {"scripted": {"running": len(self.generations)}}
