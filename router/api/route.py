"""`POST /v1/route`."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from router.api.authorization import Asker
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.keyring import Caller
from router.routing.decision import Decision
from router.service import Service
from router.wire.body import parse
from router.wire.route import RouteRequest
from router.wire.routing import routing
from router.wire.routing_options import refuse_steps

routes = APIRouter(tags=["routing"])


@routes.post("/v1/route", openapi_extra=json_body(RouteRequest))
async def decide_only(service: Served, request: Request, caller: Asker) -> dict[str, Any]:
    """Say who would answer, and why; generate nothing."""
    body = parse(await read_json(request), RouteRequest)
    refuse_steps(body.routing)
    decision = await service.resolver.route(body.turns, caller.owner, body.routing.options)
    return await shown(service, caller, decision, body.explain)


async def shown(
    service: Service, caller: Caller, decision: Decision, explain: bool
) -> dict[str, Any]:
    """A decision that nothing is generated for, as its caller may see it."""
    # It counts everybody's changes, which are not everybody's business.
    generation = decision.generation if caller.owner is None else None
    found = routing(decision) | {"generation": generation}
    if explain:
        nearest = await service.pools.embedding.run(service.explainer.nearest, decision)
        found["examples"] = [asdict(example) for example in nearest]
    return found
