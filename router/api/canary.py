"""`/v1/specialists/{owner}/{name}/canary`: a version that some requests get while it is tried."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from registry.queries import PROD
from registry.registry import Registry
from registry.trials import Guard
from router.api.authorization import Deployer, Reader
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.alias import CanaryRequest, reference, tried
from router.wire.body import parse

routes = APIRouter(prefix="/v1/specialists/{owner}/{name}/canary", tags=["specialists"])


@routes.get("")
async def show(
    service: Served, owner: str, name: str, caller: Reader, alias: str = PROD
) -> dict[str, Any]:
    """The version that is tried, its share, and how it fares; a share of 0 when none is."""
    registry = service.seen_by(caller)
    return await service.pools.reading.run(_shown, registry, f"{owner}/{name}", alias)


@routes.put("", openapi_extra=json_body(CanaryRequest))
async def try_out(
    service: Served, request: Request, owner: str, name: str, caller: Deployer
) -> dict[str, Any]:
    """Give a share of the requests for an alias to another version; 0 ends that."""
    body = parse(await read_json(request), CanaryRequest)
    version = reference(f"{owner}/{name}", body.version)
    guard = Guard(body.margin, body.least)
    try_out = partial(service.seen_by(caller).aliases.try_out, alias=body.alias)
    done = await service.pools.writing.run(try_out, version, body.share, guard)
    await service.refresh()
    return tried(done)


def _shown(registry: Registry, specialist: str, alias: str) -> dict[str, Any]:
    aliases = registry.aliases
    return tried(aliases.canary(specialist, alias), aliases.trial(specialist, alias))
