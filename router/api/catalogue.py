"""`GET /v1/catalogue/tree`."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from router.api.authorization import Reader
from router.api.serving import Served
from router.routing.snapshot import Snapshot
from router.routing.taxonomy import LOOKED_AT, taxonomy

routes = APIRouter(tags=["specialists"])


@routes.get("/v1/catalogue/tree")
async def tree(
    service: Served,
    caller: Reader,
    domain: str | None = None,
    limit: Annotated[int, Query(ge=0, le=1000)] = 10,
) -> dict[str, Any]:
    """What `auto` may choose from: domains, their niches, and of each the first specialists.

    `domain` shows one only; `limit` says how many specialists a niche lists.
    """
    seen = service.resolver.seen_by(caller.owner)
    return await service.pools.exporting.run(_tree, seen, domain, limit)


def _tree(snapshot: Snapshot, domain: str | None, limit: int) -> dict[str, Any]:
    found = taxonomy(snapshot, limit)
    count = len(snapshot)
    return {
        "object": "catalogue.tree",
        "specialists": count,
        "estimated": count > LOOKED_AT,
        "domains": [asdict(each) for each in found if domain in (None, each.name)],
    }
