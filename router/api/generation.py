"""The way of a request once its body is read: decide, generate, answer."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from fastapi import Request
from pydantic_core import to_json
from starlette.responses import Response

from router import tracing
from router.answer import Choice, collect, cut_short
from router.api.connection import while_connected
from router.api.events import EventStream
from router.engine import Delta, Generation, Items, Message, Usage
from router.errors import InvalidRequest
from router.keyring import Caller
from router.metrics import Metrics
from router.resolver import AUTO
from router.routing.decision import Decision
from router.sampling import Sampling
from router.service import Service
from router.staging import sticky
from router.wire.routing import answered
from router.wire.routing_options import RoutingOptions, options_of
from router.wire.writer import Envelope, Writer

Operation = Literal["chat", "text_completion", "response", "message"]

MOST_LOGPROBS = 1_000_000
"""Tokens whose log probabilities an answer may hold, chosen ones and others."""
SPECIALIST_HEADER = "x-myriad-specialist"
PREFIXES: dict[Operation, str] = {
    "chat": "chatcmpl",
    "text_completion": "cmpl",
    "response": "resp",
    "message": "msg",
}


class Asked(Protocol):
    """A request body that says who is to answer."""

    @property
    def model(self) -> str:
        """Who is to answer."""

    @property
    def user(self) -> str | None:
        """Whose request it is, if it says."""

    @property
    def routing(self) -> bool | RoutingOptions:
        """What it asks of `auto`, or whether the answer says who answers."""

    @property
    def service_tier(self) -> str | None:
        """How soon it is to be answered."""


def as_asked(caller: Caller, body: Asked) -> Caller:
    """The caller, who waits for the answer unless they say that nobody does."""
    return replace(caller, is_absent=True) if body.service_tier == "flex" else caller


async def decide(
    service: Service, caller: Caller, body: Asked, turns: Sequence[str], model: str | None = None
) -> Decision:
    """Who answers a request, or a step of it that names another model; counted.

    Raises:
        Overloaded: There is no place for an answer.
    """
    model, options = model or body.model, options_of(body.routing)
    # Of a burst all are decided on before the first one is asked of the engine.
    with service.engine.place(caller.tenant), tracing.deciding() as span:
        decision = await service.resolver.resolve(model, turns, caller.owner, options)
        decision = service.resolver.staged(decision, model, sticky(body.user, turns))
        tracing.decided(span, decision, model)
    service.hints.runners_up(decision)
    service.metrics.decided(decision, service.base, "auto" if model == AUTO else "name")
    return decision


async def envelope(
    operation: Operation, service: Service, decision: Decision, sampling: Sampling, body: Asked
) -> Envelope:
    """The head of a new answer; it says who answers where the body wants that."""
    ids = await service.answer_ids()
    return Envelope(
        id=ids.make(PREFIXES[operation], decision.digest),
        created=int(time.time()),
        model=decision.specialist or service.base,
        routing={"routing": answered(decision, sampling)} if body.routing else {},
        tier="default" if body.service_tier == "auto" else body.service_tier,
    )


class Prompting(Protocol):
    """A request body with a prompt for somebody."""

    @property
    def model(self) -> str:
        """Who it is for."""

    def generation(self, request_id: str, adapter: str | None, sampling: Sampling) -> Generation:
        """What is asked of the engine, answered with the given adapter."""


class Conversation(Asked, Prompting, Protocol):
    """A request body that asks for the next turn of a conversation."""

    @property
    def turns(self) -> list[str]:
        """What `auto` goes by."""

    @property
    def stream(self) -> bool:
        """Whether the answer comes as events."""

    @property
    def sampling(self) -> Sampling:
        """What is asked of the sampling."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer that is ready to be read: who gives it, its head, and its items."""

    decision: Decision
    sampling: Sampling
    head: Envelope
    items: Items


async def ready(
    service: Service,
    caller: Caller,
    operation: Operation,
    body: Conversation,
    decision: Decision,
    count: int,
    prompt: tuple[Message, ...] | None = None,
) -> Ready:
    """The answer of whoever was decided on, to the conversation or to another prompt."""
    sampling = await service.defaults.complete(body.sampling, decision)
    head = await envelope(operation, service, decision, sampling, body)
    generation = replace(
        body.generation(head.id, decision.digest, sampling),
        whole=not body.stream,
        tenant=caller.tenant,
        absent=caller.is_absent,
    )
    if prompt is not None:
        generation = replace(generation, prompt=prompt, continued=False)
    most = (sampling.max_tokens or 0) * count
    require_few(most, generation.logprobs)
    items = service.engine.generate(generation)
    return Ready(
        decision, sampling, head, counted(service, caller, decision, operation, items, most)
    )


def require_few(tokens: int, logprobs: int | None) -> None:
    """Refuse an answer that may tell of more than `MOST_LOGPROBS` tokens.

    Args:
        tokens: of the answer, at most.
        logprobs: likeliest ones that are wanted beside each; None for none, nor its own.
    """
    if logprobs is None or (told := tokens * (1 + logprobs)) <= MOST_LOGPROBS:
        return
    message = (
        f"'logprobs' may be {told:,} of up to {tokens:,} tokens, and {MOST_LOGPROBS:,} at most; "
        "ask for fewer tokens, continuations or likeliest tokens."
    )
    raise InvalidRequest(message, param="logprobs")


def answer_headers(service: Service, caller: Caller, decision: Decision) -> dict[str, str]:
    """The headers that say who answers, and what is left of the caller's quota."""
    headers = service.quotas.headers(caller)
    return headers | {SPECIALIST_HEADER: decision.specialist or service.base}


def counted(
    service: Service,
    caller: Caller,
    decision: Decision,
    operation: Operation,
    items: Items,
    most: int,
) -> Items:
    """The same items, of `most` tokens at most, told of in metrics and spans.

    What they come to is put down to the caller, and counts against their quota.
    """
    items = tracing.answering(items, operation, decision, service.base)
    items = measured(items, operation, service.metrics)
    model = decision.specialist or service.base
    items = service.news.spending.counted(caller, model, items)
    if decision.digest is not None and decision.canary is not None:
        items = service.news.outcomes.watched(decision.digest, items)
    if caller.quota.tokens_per_minute is None:
        return items
    return service.quotas.metered(caller, items, most)


async def respond(
    service: Service,
    request: Request,
    items: Items,
    writer: Writer,
    headers: dict[str, str],
    count: int | None,
) -> Response:
    """The answer whole, of `count` continuations, or as a stream (None).

    Raises:
        EngineRefused: Before anything is sent, also for a stream.
        ClientGone: The client went before the answer was complete; the work was aborted.
    """
    try:
        if count is None:
            first = await while_connected(request.receive, _first(items))
            return EventStream(first, items, writer, headers)
        choices, usage = await while_connected(request.receive, collect(items, count))
        content = await _written(service, writer, choices, usage)
        return Response(content, headers=headers, media_type="application/json")
    except BaseException:
        await items.aclose()
        raise


async def _written(
    service: Service, writer: Writer, choices: Sequence[Choice], usage: Usage
) -> bytes:
    """The answer as it is sent; what may take long holds up nobody else."""

    def written() -> bytes:
        return to_json(writer.body(choices, usage))

    if any(choice.logprobs for choice in choices):
        return await service.pools.spelling.run(written)
    return written()


async def measured(items: Items, operation: Operation, metrics: Metrics) -> Items:
    """The same items, with the time to the first, the pace and the tokens of all recorded."""
    began, first, at_first = time.perf_counter(), 0.0, 0
    async with aclosing(items):
        async for item in items:
            if not first:
                first = time.perf_counter()
                metrics.started(operation, first - began)
                at_first = item.tokens if isinstance(item, Delta) else 0
            if isinstance(item, Usage):
                metrics.used(operation, item)
                if (rest := item.completion_tokens - at_first) > 0:
                    metrics.paced(operation, (time.perf_counter() - first) / rest)
            yield item


async def _first(items: Items) -> Delta | Usage:
    first = await anext(items, None)
    if first is None:
        raise cut_short()
    return first
