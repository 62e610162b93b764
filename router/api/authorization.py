"""What each endpoint asks of whoever calls it: as a parameter of its function."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers

from registry.scopes import Scope
from router.api.behalf import behalf_of
from router.api.serving import Served
from router.errors import Forbidden
from router.keyring import Caller, Keyring
from router.service import Service

Dependency = Callable[[Request, Service], Awaitable[Caller]]


async def allowed(keyring: Keyring, authorization: str | None, scope: Scope) -> Caller:
    """Who sent this header, if a scope is theirs.

    Raises:
        Unauthorized: A key is needed, and this is none.
        Forbidden: The key is not for that.
    """
    return _for(await keyring.caller(authorization), scope)


def _may(scope: Scope) -> Dependency:
    async def caller(request: Request, service: Served) -> Caller:
        behalf = behalf_of(request.scope)
        if behalf is not None:
            return _for(await service.keyring.absent(behalf.key), scope)
        return await allowed(service.keyring, _sent(request.headers), scope)

    return caller


def _sent(headers: Headers) -> str | None:
    """The key as the `Authorization` header has it; some of Anthropic's clients send another."""
    key = headers.get("x-api-key")
    return headers.get("authorization") or (f"Bearer {key}" if key else None)


def _for(found: Caller, scope: Scope) -> Caller:
    if not found.may(scope):
        message = f"This API key is not for that: it lacks the scope '{scope}'."
        raise Forbidden(message, code="scope_missing")
    return found


async def _asker(service: Served, caller: Annotated[Caller, Depends(_may(Scope.INFER))]) -> Caller:
    service.quotas.admit(caller)
    if not caller.is_absent:
        service.background.asked()
    return caller


Asker = Annotated[Caller, Depends(_asker)]
Batcher = Annotated[Caller, Depends(_may(Scope.INFER))]
Reader = Annotated[Caller, Depends(_may(Scope.READ))]
Writer = Annotated[Caller, Depends(_may(Scope.WRITE))]
Deployer = Annotated[Caller, Depends(_may(Scope.DEPLOY))]
Observer = Annotated[Caller, Depends(_may(Scope.METRICS))]
Admin = Annotated[Caller, Depends(_may(Scope.ADMIN))]
