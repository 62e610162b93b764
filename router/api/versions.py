"""`/v1/specialists/{owner}/{name}/versions/{number}`: released, scored, taken away as a file."""

from tempfile import TemporaryFile
from typing import IO, Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from registry.reference import Reference, parse_reference
from registry.registry import Registry
from router.api.authorization import Admin, Deployer, Reader
from router.api.download import tar_download
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.specialist import ScoresRequest, scored, specialist

PREFIX = "/v1/specialists/{owner}/{name}/versions/{number}"
routes = APIRouter(prefix=PREFIX, tags=["specialists"])


@routes.post("/release")
async def release(
    service: Served, owner: str, name: str, number: int, caller: Admin
) -> dict[str, Any]:
    """Let a quarantined version be served; promote it then."""
    reference = parse_reference(f"{owner}/{name}@{number}")
    registry = service.seen_by(caller)
    return specialist(await service.pools.writing.run(registry.release, reference))


@routes.post("/scores", openapi_extra=json_body(ScoresRequest))
async def score(
    service: Served, request: Request, owner: str, name: str, number: int, caller: Deployer
) -> dict[str, Any]:
    """Note held-out scores of a version, which the gates before aliases go by."""
    body = parse(await read_json(request), ScoresRequest)
    reference = parse_reference(f"{owner}/{name}@{number}")
    registry = service.seen_by(caller)
    version = await service.pools.writing.run(registry.score, reference, body.scores)
    found = await service.pools.reading.run(registry.scores, version)
    return {"id": version.id, "version": version.number, "evaluation": scored(found)}


@routes.get("/bundle")
async def export(
    service: Served, owner: str, name: str, number: int, caller: Reader
) -> StreamingResponse:
    """A version of yours as one file: card, private examples, config and weights."""
    reference = parse_reference(f"{owner}/{name}@{number}")
    packed = await service.pools.exporting.run(_packed, service.seen_by(caller), reference)
    return tar_download(packed, f"{owner}-{name}-{number}.tar")


def _packed(registry: Registry, reference: Reference) -> IO[bytes]:
    into = TemporaryFile()  # noqa: SIM115 (it is closed when it was sent)
    try:
        registry.pack(reference, into)
    except BaseException:
        into.close()
        raise
    return into
