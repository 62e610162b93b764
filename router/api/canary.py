"""`/v1/specialists/{owner}/{name}/canary`: a version that some requests get while it is tried."""

from typing import Any

from fastapi import APIRouter, Request

from router.api.authorization import Deployer, Reader
from router.api.json_body import read_json
from router.api.schema import json_body
from router.service import Service
from router.wire.alias import CanaryRequest, reference, tried
from router.wire.body import parse


def canary_routes(service: Service) -> APIRouter:
    """The routes, served by `service`."""
    routes = APIRouter(prefix="/v1/specialists/{owner}/{name}/canary", tags=["specialists"])

    @routes.get("")
    async def show(owner: str, name: str, caller: Reader) -> dict[str, Any]:
        """The version that is tried, and its share; a share of 0 when none is."""
        aliases = service.seen_by(caller).aliases
        return tried(await service.reading.run(aliases.canary, f"{owner}/{name}"))

    @routes.put("", openapi_extra=json_body(CanaryRequest))
    async def try_out(request: Request, owner: str, name: str, caller: Deployer) -> dict[str, Any]:
        """Give a share of the requests for `prod` to another version; 0 ends that."""
        body = parse(await read_json(request), CanaryRequest)
        version = reference(f"{owner}/{name}", body.version)
        aliases = service.seen_by(caller).aliases
        done = await service.writing.run(aliases.try_out, version, body.share)
        await service.refresh()
        return tried(done)

    return routes
