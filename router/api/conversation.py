"""Answers conversations: by whoever is named or fits, or in steps by several."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from router.api.connection import while_connected
from router.api.generation import (
    Conversation,
    Operation,
    Ready,
    answer_headers,
    as_asked,
    counted,
    decide,
    envelope,
    ready,
    respond,
)
from router.composition import (
    Result,
    Steps,
    Underway,
    partial,
    results_of,
    said,
    usage_of,
    user,
    with_usage,
)
from router.engine import Generation, Items
from router.errors import Unavailable
from router.keyring import Caller
from router.resolver import AUTO
from router.routing.decision import Decision, base_answers
from router.routing.plan import Plan, Step
from router.sampling import Sampling
from router.service import Service
from router.wire.routing import steps_json
from router.wire.routing_options import RoutingOptions
from router.wire.writer import Envelope, Writer


async def converse(
    request: Request,
    service: Service,
    caller: Caller,
    operation: Operation,
    body: Conversation,
    writer: Callable[[Envelope, Sampling], Writer],
    count: int = 1,
    kept: Callable[[Ready], Items] = lambda answer: answer.items,
) -> Response:
    """Decide who answers a conversation, and answer it in `count` ways; see `respond`.

    What is sent goes through `kept`.
    """
    caller = as_asked(caller, body)
    plan = await _plan(service, caller, body)
    if plan is not None:
        composing = Composing(service, caller, operation, body)
        answer = await while_connected(request.receive, composing.answer(plan, count))
    else:
        decision = await decide(service, caller, body, body.turns)
        answer = await ready(service, caller, operation, body, decision, count)
    return await respond(
        service,
        request,
        kept(answer),
        writer(answer.head, answer.sampling),
        answer_headers(service, caller, answer.decision),
        None if body.stream else count,
    )


async def _plan(service: Service, caller: Caller, body: Conversation) -> Plan | None:
    """The steps that a request asks for, or that its text does, where it lets them be found."""
    asked = body.routing
    if not isinstance(asked, RoutingOptions):
        return None
    if asked.steps or not asked.compose or body.model != AUTO:
        return asked.plan
    return await service.resolver.plan(body.turns, caller.owner, asked.options)


class Composing:
    """A request that is answered in steps."""

    def __init__(
        self, service: Service, caller: Caller, operation: Operation, body: Conversation
    ) -> None:
        self._service = service
        self._caller = caller
        self._operation: Operation = operation
        self._body = body

    async def answer(self, plan: Plan, count: int) -> Ready:
        """What the last step answers, once those before it are done; what is there if one fails.

        Raises:
            RouterError: Nothing came of any step.
        """
        request = self._body.turns[-1] if self._body.turns else ""
        results = await Steps(plan, request, self._begin).before_last()
        if any(result.text is None for result in results):
            return await self._partial(results)
        text = plan.last.text(request, results_of(results))
        decision = await self._decide(plan.last, text)
        prompt = None if plan.last.is_the_request else user(text)
        made = await ready(
            self._service, self._caller, self._operation, self._body, decision, count, prompt
        )
        items = with_usage(made.items, usage_of(results))
        return replace(made, items=items, head=self._with_steps(made.head, results))

    async def _partial(self, results: Sequence[Result]) -> Ready:
        done = [result for result in results if result.text is not None]
        if not done:
            first = next(result for result in results if result.text is None)
            raise Unavailable(message=f"Step '{first.step.name}' failed: {first.error}")
        decision = done[-1].decision or base_answers("The steps did not come to an end.", "named")
        sampling = await self._service.defaults.complete(self._body.sampling, decision)
        head = await envelope(self._operation, self._service, decision, sampling, self._body)
        items = with_usage(said(partial(results)), usage_of(results))
        return Ready(decision, sampling, self._with_steps(head, results), items)

    async def _begin(self, step: Step, text: str) -> Underway:
        decision = await self._decide(step, text)
        sampling = await self._service.defaults.complete(self._body.sampling, decision)
        whole = self._body.generation(f"step-{uuid4().hex}", decision.digest, sampling)
        prompt = whole.prompt if step.is_the_request else user(text)
        generation = Generation(
            whole.request_id,
            whole.adapter,
            prompt,
            sampling=sampling,
            variables=whole.variables,
            tenant=self._caller.tenant,
            absent=self._caller.is_absent,
            whole=True,
        )
        items, most = self._service.engine.generate(generation), sampling.max_tokens or 0
        return Underway(
            decision,
            counted(self._service, self._caller, decision, self._operation, items, most),
        )

    async def _decide(self, step: Step, text: str) -> Decision:
        return await decide(self._service, self._caller, self._body, [text], step.model)

    def _with_steps(self, head: Envelope, results: Sequence[Result]) -> Envelope:
        if not head.routing:
            return head
        return replace(head, routing={"routing": head.routing["routing"] | steps_json(results)})
