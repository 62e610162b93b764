"""What each endpoint asks of whoever calls it: as a parameter of its function."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from registry.scopes import Scope
from router.errors import Forbidden
from router.keyring import Caller, Keyring
from router.quotas import Quotas

Dependency = Callable[[Request], Awaitable[Caller]]


async def allowed(keyring: Keyring, authorization: str | None, scope: Scope) -> Caller:
    """Who sent this header, if a scope is theirs.

    Raises:
        Unauthorized: A key is needed, and this is none.
        Forbidden: The key is not for that.
    """
    found = await keyring.caller(authorization)
    if not found.may(scope):
        message = f"This API key is not for that: it lacks the scope '{scope}'."
        raise Forbidden(message, code="scope_missing")
    return found


def _may(scope: Scope) -> Dependency:
    async def caller(request: Request) -> Caller:
        keyring: Keyring = request.app.state.keyring
        return await allowed(keyring, request.headers.get("authorization"), scope)

    return caller


async def _asker(request: Request, caller: Annotated[Caller, Depends(_may(Scope.INFER))]) -> Caller:
    quotas: Quotas = request.app.state.quotas
    quotas.admit(caller)
    return caller


Asker = Annotated[Caller, Depends(_asker)]
Reader = Annotated[Caller, Depends(_may(Scope.READ))]
Writer = Annotated[Caller, Depends(_may(Scope.WRITE))]
Deployer = Annotated[Caller, Depends(_may(Scope.DEPLOY))]
Observer = Annotated[Caller, Depends(_may(Scope.METRICS))]
Admin = Annotated[Caller, Depends(_may(Scope.ADMIN))]


def authorize(app: FastAPI, keyring: Keyring, quotas: Quotas) -> None:
    """Let the endpoints of `app` ask a keyring, and count what its callers use."""
    app.state.keyring, app.state.quotas = keyring, quotas
