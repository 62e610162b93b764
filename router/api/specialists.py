"""`/v1/specialists`: register, list, show, retire, restore."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from registry.files import CONFIG, WEIGHTS
from registry.registry import Registry
from registry.view import Visibility
from router.api.authorization import Deployer, Reader, Writer
from router.api.json_body import read_json
from router.api.schema import json_body, request_body
from router.api.serving import Served
from router.api.upload import uploaded
from router.wire.body import parse
from router.wire.specialist import VisibilityRequest, details, listed, specialist

SHOWN_VERSIONS = 100
_FILE = {"type": "string", "format": "binary"}
UPLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["card", "adapter_config", "adapter_model"],
    "properties": {
        "card": {"type": "string", "description": "The card, as JSON or YAML; or a file."},
        "adapter_config": {**_FILE, "description": CONFIG},
        "adapter_model": {**_FILE, "description": WEIGHTS},
    },
}


routes = APIRouter(prefix="/v1/specialists", tags=["specialists"])


@routes.post("", status_code=201, openapi_extra=request_body("multipart/form-data", UPLOAD_SCHEMA))
async def register(
    service: Served,
    request: Request,
    caller: Writer,
    alias: str | None = None,
    visibility: Visibility | None = None,
) -> JSONResponse:
    """Register an adapter; a new version answers at once.

    The same content again gets a 200 and moves nothing, unless an `alias` is asked for. A new
    specialist is private unless another `visibility` is asked for.
    """
    registry = service.seen_by(caller)
    with service.uploads.entered("uploads"):
        async with uploaded(request, service.limits) as upload:
            registered = await service.pools.uploading.run(
                upload.register, registry, alias, visibility
            )
    await service.refresh()
    version, created, warnings = registered
    aliases = await service.pools.reading.run(registry.aliases.pointing, version.digest)
    told = {"aliases": aliases, "warnings": warnings}
    return JSONResponse(specialist(version) | told, 201 if created else 200)


@routes.get("")
async def list_specialists(
    service: Served,
    caller: Reader,
    q: str | None = None,
    search: str | None = None,
    tag: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    """A page of specialists. `search` is another name for `q`, and `after` for `cursor`."""
    registry, tagged = service.seen_by(caller), tag or None
    text, begin = q or search or None, cursor or after or None
    return listed(await service.pools.reading.run(registry.search, text, tagged, begin, limit))


@routes.get("/{owner}/{name}")
async def show(service: Served, owner: str, name: str, caller: Reader) -> dict[str, Any]:
    """A specialist with its versions and aliases: its newest version if none is in service."""
    return await service.pools.reading.run(_details, service.seen_by(caller), f"{owner}/{name}")


@routes.delete("/{owner}/{name}")
async def retire(service: Served, owner: str, name: str, caller: Deployer) -> dict[str, Any]:
    """Retire a specialist: it is no longer found, listed or routed to."""
    identity = f"{owner}/{name}"
    await service.pools.writing.run(service.seen_by(caller).retire, identity)
    await service.refresh()
    return {"id": identity, "object": "specialist", "deleted": True}


@routes.post("/{owner}/{name}/restore")
async def restore(service: Served, owner: str, name: str, caller: Deployer) -> dict[str, Any]:
    """Bring a retired specialist back as it was."""
    identity = f"{owner}/{name}"
    registry = service.seen_by(caller)
    await service.pools.writing.run(registry.restore, identity)
    await service.refresh()
    return await service.pools.reading.run(_details, registry, identity)


@routes.put("/{owner}/{name}/visibility", openapi_extra=json_body(VisibilityRequest))
async def show_to(
    service: Served, request: Request, owner: str, name: str, caller: Deployer
) -> dict[str, Any]:
    """Say who finds a specialist besides its owner."""
    body = parse(await read_json(request), VisibilityRequest)
    identity = f"{owner}/{name}"
    await service.pools.writing.run(service.seen_by(caller).show_to, identity, body.visibility)
    await service.refresh()
    return {"id": identity, "object": "specialist", "visibility": body.visibility}


def _details(registry: Registry, identity: str) -> dict[str, Any]:
    version, aliases = registry.foremost(identity), registry.aliases.of(identity)
    versions = registry.versions(identity, SHOWN_VERSIONS)
    return details(version, versions, aliases, registry.scores(version))
