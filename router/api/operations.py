"""`GET /healthz`, `/readyz` and `/metrics`."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import Response

from router.api.authorization import Observer
from router.api.serving import Served
from router.metrics import CONTENT_TYPE

routes = APIRouter(tags=["operations"])


@routes.get("/healthz")
async def health() -> dict[str, Any]:
    """The process is up."""
    return {"status": "ok"}


@routes.get("/readyz")
@routes.get("/health", summary="As /readyz, where other servers have it")
async def readiness(service: Served) -> JSONResponse:
    """Requests can be answered; otherwise 503 with what is missing and how far it is."""
    missing = await service.missing()
    snapshot = service.follower.snapshot
    content: dict[str, Any] = {
        "status": "not ready" if missing else "ready",
        "missing": missing,
    }
    if not await service.keyring.closed():
        content["generation"] = None if snapshot is None else snapshot.generation
        content["skipped"] = dict(service.follower.skipped)
    if snapshot is None:
        content["reading"] = asdict(service.follower.reading)
    return JSONResponse(content, 503 if missing else 200)


@routes.get("/metrics")
async def metrics(service: Served, _: Observer) -> Response:
    """The metrics of all replicas in Prometheus' text format."""
    return Response(await service.expositions(), media_type=CONTENT_TYPE)
