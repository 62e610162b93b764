"""`/v1/registry`: back up, verify and tidy what is registered."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from registry.registry import Registry
from router.api.authorization import Admin
from router.api.download import tar_download
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.maintenance import GcRequest

routes = APIRouter(prefix="/v1/registry", tags=["operations"])


@routes.get("/backup")
async def backup(service: Served, caller: Admin) -> StreamingResponse:
    """All that is registered in one tar file, private examples too."""
    packed = await service.pools.maintenance.run(_packed, service.seen_by(caller))
    return tar_download(packed, "registry.tar")


@routes.post("/verify")
async def verify(service: Served, caller: Admin) -> dict[str, Any]:
    """Read everything again: database, digests, lists, files."""
    found = await service.pools.maintenance.run(_problems, service.seen_by(caller))
    return {"object": "verification", "ok": not found, "problems": found}


@routes.post("/gc", openapi_extra=json_body(GcRequest))
async def gc(service: Served, request: Request, caller: Admin) -> dict[str, Any]:
    """Give up what was retired long ago, and remove files that nobody needs."""
    body = parse(await read_json(request), GcRequest)
    collect = service.seen_by(caller).collect
    found = await service.pools.maintenance.run(collect, timedelta(days=body.days))
    return {"object": "collection", **asdict(found)}


def _problems(registry: Registry) -> list[str]:
    return list(registry.problems())


def _packed(registry: Registry) -> IO[bytes]:
    """A file without a name, which goes when it is closed."""
    with TemporaryDirectory() as folder:
        registry.backup(Path(folder, "registry.tar"))
        return Path(folder, "registry.tar").open("rb")
