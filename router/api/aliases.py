"""`/v1/specialists/{owner}/{name}/aliases`: which version is served under which name."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from registry.aliases import MAX_REASON, Aliases
from router.api.authorization import Deployer, Reader
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.alias import AliasRequest, RollbackRequest, move, reference, shown
from router.wire.body import parse

routes = APIRouter(prefix="/v1/specialists/{owner}/{name}/aliases", tags=["specialists"])


@routes.get("")
async def list_aliases(service: Served, owner: str, name: str, caller: Reader) -> dict[str, Any]:
    """What each alias of a specialist points to."""
    found = await service.pools.reading.run(service.seen_by(caller).aliases.of, f"{owner}/{name}")
    return {"object": "list", "data": [shown(each) for each in found]}


@routes.get("/{alias}/history")
async def history(
    service: Served, owner: str, name: str, alias: str, caller: Reader
) -> dict[str, Any]:
    """Where an alias has pointed, the latest first, and why."""
    aliases = service.seen_by(caller).aliases
    found = await service.pools.reading.run(aliases.history, f"{owner}/{name}", alias)
    return {"object": "list", "data": [move(each) for each in found]}


@routes.put("/{alias}", openapi_extra=json_body(AliasRequest))
async def point(
    service: Served, request: Request, owner: str, name: str, alias: str, caller: Deployer
) -> dict[str, Any]:
    """Point an alias to a version, protect it, put gates before it."""
    body = parse(await read_json(request), AliasRequest)
    aliases = service.seen_by(caller).aliases
    done = await service.pools.writing.run(_pointed, aliases, f"{owner}/{name}", alias, body)
    await service.refresh()
    return done


@routes.post("/{alias}/rollback", openapi_extra=json_body(RollbackRequest))
async def roll_back(
    service: Served, request: Request, owner: str, name: str, alias: str, caller: Deployer
) -> dict[str, Any]:
    """Point an alias to what it pointed at before."""
    body = parse(await read_json(request), RollbackRequest)
    aliases = service.seen_by(caller).aliases
    work = partial(aliases.roll_back, expected=body.expected, reason=body.reason)
    done = await service.pools.writing.run(work, f"{owner}/{name}", alias)
    await service.refresh()
    return shown(done)


@routes.delete("/{alias}")
async def remove(
    service: Served,
    owner: str,
    name: str,
    alias: str,
    caller: Deployer,
    expected: Annotated[int | None, Query(ge=0)] = None,
    reason: Annotated[str | None, Query(max_length=MAX_REASON)] = None,
) -> dict[str, Any]:
    """Take an alias away."""
    aliases = service.seen_by(caller).aliases
    work = partial(aliases.remove, expected=expected, reason=reason)
    await service.pools.writing.run(work, f"{owner}/{name}", alias)
    await service.refresh()
    return {"alias": alias, "object": "alias", "deleted": True}


def _pointed(aliases: Aliases, specialist: str, alias: str, body: AliasRequest) -> dict[str, Any]:
    if body.version is None:
        arranged = aliases.arrange(specialist, alias, protected=body.protected, gates=body.gates)
        return shown(arranged)
    done = aliases.promote(
        reference(specialist, body.version),
        alias,
        expected=body.expected,
        reason=body.reason,
        protected=body.protected,
        gates=body.gates,
        override=bool(body.override),
    )
    return shown(done)
