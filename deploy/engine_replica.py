"""The engine on Ray Serve: one base, its adapters found in the registry."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from deploy.call import Call
from deploy.deltas import Deltas
from deploy.entrance import Entrance
from deploy.home import open_registry
from deploy.nearby import ENGINES, sockets
from deploy.pipe import Pipe
from deploy.replica import memory_bytes, replica_name, settled
from deploy.scaling import PRESSURE
from deploy.settings import Settings
from deploy.telemetry import observe
from registry.errors import UnknownSpecialist
from registry.files import AdapterFiles
from router import errors as refusals
from router import tracing
from router.api.connection import unless
from router.engine import Delta, Generation, Items, Message, Reading, Tool, ToolUse, Usage
from router.pool import Pool
from specialists import errors
from specialists.base import locate_base
from specialists.engine.backend import Backend, Request
from specialists.engine.core import SamplingParams
from specialists.engine.grammar import STRUCTURED_OUTPUTS, Grammar
from specialists.engine.habits import Expected
from specialists.engine.text import Tokenizer
from specialists.engine.thoughts import Thoughts, opened

logger = logging.getLogger(__name__)

COMPILING_THREADS = 16
"""They mostly wait for one that is tried, while those that are known are found at once."""
FORETOLD_TOKENS = 8192
"""Of what an answer may be: so many are looked over in a few milliseconds."""


class EngineReplica:
    """Answers generations; what it refuses travels as a value, the last and only item."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]
        # Only here: who starts the cluster has no use for torch.
        from deploy.backend import open_backend

        settings = settings.with_secrets
        observe(settings, replica_name())
        base = locate_base(settings.base, settings.home)
        self._registry = open_registry(settings, base)
        far = settings.files is not None
        self._backend = open_backend(settings.engine, base, self._locate, far=far)
        self._backend.tokenizer.prepare()
        # Apart from what every request needs: some schemas take seconds.
        self._compiling = Pool("grammars", COMPILING_THREADS)
        self._entrance = Entrance(self._visited, sockets(ENGINES) / replica_name())
        await self._entrance.open()
        settled()

    async def generate(
        self, call: Call
    ) -> AsyncGenerator[Delta | Usage | refusals.RouterError, None]:
        """Stream the answer's deltas and its usage, or a refusal."""
        generation = call.generation
        try:
            answer = tracing.generating(self._answer(generation), generation.adapter, call.trace)
            async with aclosing(answer) as items:
                async for item in items:
                    yield item
        except errors.EngineError as error:
            yield _refusal(error, param=_param(generation))

    async def prefetch(self, digest: str, evicts: bool) -> None:
        """Have an adapter loaded that may be wanted soon."""
        self._backend.prefetch(digest, evicts=evicts)

    def record_routing_stats(self) -> dict[str, Any]:
        """Serve's hook for what `AffinityRouter` goes by."""
        return replace(self._backend.report(), visits=self._entrance.visits).told()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve's hook for what `scaling.replicas` goes by."""
        report = self._backend.report()
        return {PRESSURE: report.rows / report.capacity}

    async def stats(self) -> tuple[str, dict[str, float]]:
        """This replica's name, and its rows, pages, tokens and bytes."""
        return replica_name(), {**self._backend.stats(), "memory_bytes": memory_bytes()}

    async def check_health(self) -> None:
        """Tell Serve to replace this replica when its engine is dead."""
        if not self._backend.alive:
            raise errors.EngineStopped("the engine's thread has ended")

    async def __del__(self) -> None:
        """Serve's hook for the end of a replica."""
        if hasattr(self, "_entrance"):
            await self._entrance.close()
        if hasattr(self, "_backend"):
            self._compiling.close()
            self._backend.close()
            self._registry.close()

    async def _visited(self, pipe: Pipe) -> None:
        """Answer a call from a router of this machine, unless it closes the pipe."""
        call = await pipe.receive()
        if call is not None:
            with suppress(refusals.ClientGone):
                await unless(pipe.receive(), self._told(pipe, call))

    async def _told(self, pipe: Pipe, call: Call) -> None:
        try:
            async with aclosing(self.generate(call)) as items:
                async for item in items:
                    await pipe.send(item)
        except ConnectionError:
            raise
        except Exception:
            # As it would travel by Serve: the router logs it with the request's id.
            await pipe.send(RuntimeError(f"the engine failed:\n{traceback.format_exc()}"))

    async def _answer(self, generation: Generation) -> Items:
        self._backend.require_room(generation.n, generation.tenant)
        tokenizer = self._backend.tokenizer
        prompt = await asyncio.to_thread(_prompt, generation, tokenizer, self._backend.context)
        if not generation.n:
            if generation.echo:
                yield await asyncio.to_thread(_read, prompt, tokenizer, self._backend.context)
            yield Usage(len(prompt), 0)
            return
        thoughts = _thoughts(generation, prompt, tokenizer)
        request = Request(
            id=generation.request_id,
            adapter=generation.adapter,
            prompt=prompt,
            n=generation.n,
            params=_params(generation),
            # Where there are to be no thoughts, none are let pass.
            grammar=await self._grammar(generation, thoughts if generation.thinks else None),
            # What is told of each token would be much at once: it goes as it is made.
            whole=generation.whole and generation.logprobs is None,
            tenant=generation.tenant,
            absent=generation.absent,
            expected=await self._expected(generation.expected, prompt),
            thoughts=thoughts,
        )
        deltas, foretold = _deltas(generation, request, tokenizer), dict[int, int | None]()
        written, cached, told = 0, 0, False
        async with aclosing(self._backend.generate(request)) as answers:
            async for emissions in answers:
                cached = cached or emissions[0][1].cached
                if request.expected is not None:
                    foretold |= {row: each.foretold for row, each in emissions}
                for delta in deltas.of(emissions):
                    written += delta.tokens
                    yield delta if told else replace(delta, prompt=Usage(len(prompt), 0, cached))
                    told = True
        accepted, rejected = _foretold(request, foretold)
        yield Usage(len(prompt), written, cached, accepted, rejected, deltas.thought_tokens)

    async def _expected(self, text: str, prompt: list[int]) -> Expected | None:
        """What an answer may be, the first of it, if somebody foretold it."""
        if not text:
            return None
        encode = self._backend.tokenizer.encode_answer
        return Expected(prompt, await asyncio.to_thread(encode, text, FORETOLD_TOKENS))

    async def _grammar(self, generation: Generation, thoughts: Thoughts | None) -> Grammar | None:
        if generation.schema is None and generation.rules is None and generation.tool_use is None:
            return None
        return await self._compiling.run(_grammar, generation, self._backend, thoughts)

    def _locate(self, digest: str) -> AdapterFiles:
        try:
            return self._registry.files(digest)
        except UnknownSpecialist as error:
            raise LookupError(digest) from error


def _deltas(generation: Generation, request: Request, tokenizer: Tokenizer) -> Deltas:
    """What makes deltas of the emissions."""
    calls = tokenizer.calls if generation.tool_use else None
    mute = generation.sampling.max_tokens == 0
    ends = request.params.ends(tokenizer.eos)
    deltas = Deltas(
        tokenizer,
        calls,
        generation.n,
        thoughts=request.thoughts,
        whole=generation.whole,
        mute=mute,
        ends=ends,
    )
    if generation.echo:
        text = generation.prompt if isinstance(generation.prompt, str) else None
        deltas.echo(request.prompt, text, logprobs=generation.logprobs is not None)
    return deltas


def _foretold(request: Request, came: Mapping[int, int | None]) -> tuple[int, int]:
    """Of each row's foretold answer how many tokens came, and how many did not, of all together.

    Of a row of which it is not known neither counts.
    """
    known = [count for count in came.values() if count is not None]
    told = request.expected.answer * len(known) if request.expected else 0
    return sum(known), max(told - sum(known), 0)


def _params(generation: Generation) -> SamplingParams:
    return SamplingParams(
        **generation.sampling.set,
        logprobs=generation.logprobs,
        prompt_logprobs=generation.logprobs if generation.echo else None,
    )


def _prompt(generation: Generation, tokenizer: Tokenizer, context: int) -> list[int]:
    """The prompt's tokens; one that is far too long for the context is not read to its end."""
    prompt = generation.prompt
    if isinstance(prompt, str):
        tokenizer.require_room([prompt], context)
        return tokenizer.encode(prompt, bare=generation.bare)
    if not prompt or isinstance(prompt[0], int):
        return [token for token in prompt if isinstance(token, int)]
    turns = [turn for turn in prompt if not isinstance(turn, int)]
    tools = generation.tool_use.tools if generation.tool_use else ()
    told = generation.variables or "{}"
    tokenizer.require_room([*_texts(turns, tools), told], context)
    return tokenizer.encode_chat(
        turns,
        tools=tools,
        continued=generation.continued,
        variables=json.loads(told),
        thinks=generation.thinks,
    )


def _read(prompt: list[int], tokenizer: Tokenizer, context: int) -> Delta:
    """What a prompt is that is not to be answered."""
    pieces = tokenizer.pieces(prompt)
    reading = Reading(tuple(prompt), tuple(pieces), context)
    return Delta(0, tokenizer.decode(prompt, special=True), 0, read=reading)


def _thoughts(generation: Generation, prompt: list[int], tokenizer: Tokenizer) -> Thoughts | None:
    """Which thoughts may come before an answer; None where they are not looked for."""
    last = generation.prompt[-1] if generation.prompt else None
    if not isinstance(last, Message):
        return None
    found = tokenizer.thoughts_after(prompt)
    if found is None or (generation.continued and not opened(last.content)):
        return None
    return replace(
        found, opened=found.opened or generation.continued, most=generation.most_thought or None
    )


def _texts(turns: Iterable[Message], tools: Iterable[Tool]) -> Iterator[str]:
    """All that people wrote of a chat."""
    for turn in turns:
        yield turn.content
        yield turn.thoughts
        yield from (call.arguments for call in turn.calls)
    for tool in tools:
        yield tool.description or ""
        yield tool.parameters


def _grammar(generation: Generation, backend: Backend, thoughts: Thoughts | None) -> Grammar | None:
    """What the answer must look like."""
    if generation.tool_use is not None:
        return _grammar_of_calls(generation.tool_use, generation.schema, backend, thoughts)
    if (rules := generation.rules) is not None:
        param = f"{STRUCTURED_OUTPUTS}.{rules.language}"
        return backend.grammars.of_rules(rules.language, rules.text, param, thoughts)
    if generation.schema is None:
        return None
    return backend.grammars.of_schema(generation.schema, thoughts=thoughts)


def _grammar_of_calls(
    use: ToolUse, schema: str | None, backend: Backend, thoughts: Thoughts | None
) -> Grammar:
    for at, tool in enumerate(use.tools):
        backend.grammars.check(tool.parameters, f"tools[{at}].function.parameters")
    rules = backend.tokenizer.calls.grammar(
        use.callable, required=use.required, several=use.several, schema=schema
    )
    return backend.grammars.of_lark(rules, "tools", thoughts)


def _param(generation: Generation) -> str:
    """What the client called its prompt."""
    first = generation.prompt[0] if generation.prompt else None
    if isinstance(first, Message):
        return "messages"
    return "tokens" if isinstance(first, int) and not generation.n else "prompt"


def _refusal(error: errors.EngineError, param: str = "prompt") -> refusals.RouterError:
    """Every error of the engine as the router's; a test holds that none is forgotten."""
    match error:
        case errors.InvalidPrompt():
            said = str(error)
            return refusals.InvalidRequest(f"{said[:1].upper()}{said[1:]}; change it.", param=param)
        case errors.InvalidSampling():
            return refusals.InvalidRequest(
                f"'{error.param}' cannot be applied: {error}; change it.", param=error.param
            )
        case errors.ContextOverflow():
            return refusals.ContextOverflow(error.prompt_tokens, error.limit)
        case errors.Overloaded():
            return refusals.Overloaded(error.retry_after)
        case errors.AdapterUnavailable():
            return refusals.Unavailable(1.0, f"The specialist cannot answer: {error}.")
        case _:
            return refusals.Unavailable()
