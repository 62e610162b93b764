"""Requests that are made in this process, on behalf of somebody who is not there."""

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

_STATE = "on_behalf"


@dataclass(frozen=True, slots=True)
class Behalf:
    """Whoever a request is made for: the id of their key, None where none was needed."""

    key: str | None


class OnBehalf:
    """ASGI middleware around the application, for whoever asks it in this process."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._behalf = Behalf(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        scope.setdefault("state", {})[_STATE] = self._behalf
        await self._app(scope, receive, send)


def behalf_of(scope: Scope) -> Behalf | None:
    """Whom a request is made for; None for one that came over a connection."""
    found: Behalf | None = scope["state"].get(_STATE)
    return found
