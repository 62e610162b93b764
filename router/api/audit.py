"""`/v1/audit`: who changed what, and whether the log of it is whole."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from registry.registry import Registry
from router.api.authorization import Admin
from router.api.serving import Served
from router.wire.audit import shown

routes = APIRouter(prefix="/v1/audit", tags=["operations"])


@routes.get("")
async def list_entries(
    service: Served,
    caller: Admin,
    specialist: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """The last changes, of one specialist or of all, the latest at the end."""
    registry = service.seen_by(caller)
    found = await service.pools.reading.run(registry.audit_log, limit, specialist)
    return {"object": "list", "data": [shown(entry) for entry in found]}


@routes.get("/verify")
async def verify(service: Served, caller: Admin, head: str | None = None) -> dict[str, Any]:
    """Whether no entry was changed or taken out; `head` is a digest that was the last once."""
    return await service.pools.exporting.run(_verified, service.seen_by(caller), head)


def _verified(registry: Registry, head: str | None) -> dict[str, Any]:
    problems = list(registry.audit_problems(head))
    last = registry.audit_log(1)
    digest = last[0].digest if last else None
    return {"object": "audit", "ok": not problems, "problems": problems, "head": digest}
