"""What was used: by whose keys, and of whose specialists."""

from typing import Any

from fastapi import APIRouter, Request

from registry.reference import parse_id
from router.api.authorization import Reader
from router.api.schema import query_lists
from router.api.serving import Served
from router.wire.usage import ONLY, Wanted, only, page, told_apart_by

routes = APIRouter(prefix="/v1", tags=["usage"])
LISTS = query_lists("group_by", *ONLY)


@routes.get("/organization/usage/completions", openapi_extra=LISTS)
async def list_used(
    service: Served, request: Request, caller: Reader, span: Wanted
) -> dict[str, Any]:
    """What your keys asked for, by day; an admin sees what all did."""
    ledger, by = service.seen_by(caller).ledger, told_apart_by(request)
    lines = await service.pools.exporting.run(ledger.used, span.days, by, only(request))
    return page(span, lines)


@routes.get("/specialists/{owner}/{name}/usage")
async def list_answered(
    service: Served, owner: str, name: str, caller: Reader, span: Wanted
) -> dict[str, Any]:
    """What your specialist answered, by day, whoever asked."""
    ledger, specialist = service.seen_by(caller).ledger, parse_id(f"{owner}/{name}")
    lines = await service.pools.exporting.run(ledger.answered, specialist, span.days)
    return page(span, lines)
