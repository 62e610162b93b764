"""`GET /v1/models` and `GET /v1/models/{reference}`."""

from typing import Any

from fastapi import APIRouter

from registry.registry import Live, Version
from router.api.authorization import Asker
from router.resolver import AUTO
from router.service import Service

LISTED_SPECIALISTS = 200


def model_routes(service: Service) -> APIRouter:
    """The routes, served by `service`."""
    routes = APIRouter(tags=["models"])
    built_in = (AUTO, service.base)

    @routes.get("/v1/models")
    async def list_models(caller: Asker) -> dict[str, Any]:
        """`auto`, the base and the newest specialists; GET /v1/specialists lists them all."""
        versions = await service.reading.run(service.seen_by(caller).newest, LISTED_SPECIALISTS)
        data = [_built_in(name, service.created) for name in built_in]
        data += [_specialist(version.id, version) for version in versions]
        return {"object": "list", "data": data}

    @routes.get("/v1/models/{reference:path}")
    async def retrieve_model(reference: str, caller: Asker) -> dict[str, Any]:
        """One model: `auto`, the base, or a specialist by any reference to it."""
        if reference in built_in:
            return _built_in(reference, service.created)
        version = await service.reading.run(service.resolver.version, reference, caller.owner)
        return _specialist(reference, version)

    return routes


def _built_in(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "myriad"}


def _specialist(reference: str, version: Live | Version) -> dict[str, Any]:
    owner, _ = version.id.split("/")
    created = int(version.created.timestamp())
    return {"id": reference, "object": "model", "created": created, "owned_by": owner}
