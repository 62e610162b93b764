"""`POST /v1/route`."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from router.api.authorization import Asker
from router.api.json_body import read_json
from router.api.schema import json_body
from router.service import Service
from router.wire.body import parse
from router.wire.route import RouteRequest
from router.wire.routing import routing


def route_routes(service: Service) -> APIRouter:
    """The route, served by `service`."""
    routes = APIRouter(tags=["routing"])

    @routes.post("/v1/route", openapi_extra=json_body(RouteRequest))
    async def decide_only(request: Request, caller: Asker) -> dict[str, Any]:
        """Say who would answer, and why; generate nothing."""
        body = parse(await read_json(request), RouteRequest)
        decision = await service.resolver.route(body.turns, caller.owner, body.routing.options)
        # It counts everybody's changes, which are not everybody's business.
        generation = decision.generation if caller.owner is None else None
        shown = routing(decision) | {"generation": generation}
        if body.explain:
            nearest = await service.embedding.run(service.explainer.nearest, decision)
            shown["examples"] = [asdict(example) for example in nearest]
        return shown

    return routes
