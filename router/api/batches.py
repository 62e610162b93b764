"""`/v1/batches`: files of requests that are answered in the background."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from router.api.authorization import Batcher
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.batch import BatchRequest, shown
from router.wire.body import parse
from router.wire.page import page

routes = APIRouter(prefix="/v1/batches", tags=["generation"])


@routes.post("", openapi_extra=json_body(BatchRequest))
async def create(service: Served, request: Request, caller: Batcher) -> dict[str, Any]:
    """Have the requests of a file answered, when nobody waits for others."""
    body = parse(await read_json(request), BatchRequest)
    batches = service.seen_by(caller).batches
    asked = body.input_file_id, body.endpoint, body.metadata, caller.key
    batch = await service.pools.writing.run(batches.create, *asked)
    service.background.call()
    return shown(batch)


@routes.get("")
async def list_batches(
    service: Served,
    caller: Batcher,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> dict[str, Any]:
    """A page of your batches, the latest first."""
    batches = service.seen_by(caller).batches
    found, more = await service.pools.reading.run(batches.list, limit, after)
    return page([shown(batch) for batch in found], more=more)


@routes.get("/{identity}")
async def show(service: Served, identity: str, caller: Batcher) -> dict[str, Any]:
    """How far a batch is."""
    return shown(await service.pools.reading.run(service.seen_by(caller).batches.get, identity))


@routes.post("/{identity}/cancel")
async def cancel(service: Served, identity: str, caller: Batcher) -> dict[str, Any]:
    """End a batch; what was answered by then becomes its files."""
    batch = await service.pools.writing.run(service.seen_by(caller).batches.cancel, identity)
    service.background.call()
    return shown(batch)
