"""`/v1/keys`: make, list and revoke API keys."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from registry.quota import Quota
from router.api.authorization import Admin
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.key import KeyRequest, shown

routes = APIRouter(prefix="/v1/keys", tags=["keys"])


@routes.post("", status_code=201, openapi_extra=json_body(KeyRequest))
async def create(service: Served, request: Request, caller: Admin) -> JSONResponse:
    """Make a key, which only this answer shows. From the first one on everything needs one."""
    body = parse(await read_json(request), KeyRequest)
    keys = service.seen_by(caller).keys
    quota = Quota(**body.quota.model_dump())
    made, text = await service.pools.writing.run(
        keys.create, body.name, body.scopes, body.owner, body.expiry, quota
    )
    return JSONResponse(shown(made) | {"key": text}, 201, {"Cache-Control": "no-store"})


@routes.get("")
async def list_keys(service: Served, caller: Admin) -> dict[str, Any]:
    """The keys, the latest first, revoked and expired ones too."""
    found = await service.pools.reading.run(service.seen_by(caller).keys.list)
    return {"object": "list", "data": [shown(key) for key in found]}


@routes.delete("/{identity}")
async def revoke(service: Served, identity: str, caller: Admin) -> dict[str, Any]:
    """Refuse a key from now on, on every replica within seconds."""
    return shown(await service.pools.writing.run(service.seen_by(caller).keys.revoke, identity))
