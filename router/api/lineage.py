"""Where specialists come from, and what stands on a base, a data set, a teacher."""

from typing import Any

from fastapi import APIRouter

from registry.reference import parse_reference
from router.api.authorization import Reader
from router.api.serving import Served
from router.wire.lineage import lineage

routes = APIRouter(tags=["specialists"])


@routes.get("/v1/specialists/{owner}/{name}/lineage")
async def of_specialist(
    service: Served, owner: str, name: str, caller: Reader, version: str | None = None
) -> dict[str, Any]:
    """What a version comes from and what stands on it; `version` is `:alias` or `@2`, say."""
    reference = parse_reference(f"{owner}/{name}{version or ''}")
    return lineage(await service.pools.reading.run(service.seen_by(caller).lineage.of, reference))


@routes.get("/v1/lineage")
async def standing_on(
    service: Served, relation: str, subject: str, caller: Reader
) -> dict[str, Any]:
    """All versions made from a base, parent, teacher, dataset or job, directly or not."""
    found = service.seen_by(caller).lineage
    return lineage(await service.pools.reading.run(found.standing_on, relation, subject))
