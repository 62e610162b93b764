"""`GET /v1/models` and `GET /v1/models/{reference}`."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from registry.registry import Live, Version
from router.api.authorization import Asker
from router.api.serving import Served
from router.resolver import AUTO

LISTED_SPECIALISTS = 200


routes = APIRouter(tags=["models"])


@routes.get("/v1/models")
async def list_models(service: Served, caller: Asker) -> dict[str, Any]:
    """`auto`, the base and the newest specialists; GET /v1/specialists lists them all."""
    versions = await service.pools.reading.run(service.seen_by(caller).newest, LISTED_SPECIALISTS)
    data = [_built_in(name, service.created) for name in (AUTO, service.base)]
    data += [_specialist(version.id, version) for version in versions]
    return {"object": "list", "data": data, "has_more": False}


@routes.get("/v1/models/{reference:path}")
async def retrieve_model(service: Served, reference: str, caller: Asker) -> dict[str, Any]:
    """One model: `auto`, the base, or a specialist by any reference to it."""
    if reference in (AUTO, service.base):
        return _built_in(reference, service.created)
    version = await service.pools.reading.run(service.resolver.version, reference, caller.owner)
    return _specialist(reference, version)


def _built_in(name: str, created: int) -> dict[str, Any]:
    return _model(name, created, "myriad")


def _specialist(reference: str, version: Live | Version) -> dict[str, Any]:
    owner, _ = version.id.split("/")
    return _model(reference, int(version.created.timestamp()), owner)


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    """A model as OpenAI's clients read it, and after that as Anthropic's do."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": owner,
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(created, UTC).isoformat(),
        "lifecycle": "active",
    }
