"""What a request's address may hold."""

from starlette.types import ASGIApp, Receive, Scope, Send

from router.api.failures import failure
from router.errors import InvalidRequest

_ENCODED_NUL = b"%00"


class Address:
    """ASGI middleware: refuses NUL characters, which not every database can look for.

    Bodies refuse them field by field (`router.wire.base.Text`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and _has_nul(scope):
            message = "The address must not contain NUL characters (%00); remove them."
            await failure(InvalidRequest(message)).answer(scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _has_nul(scope: Scope) -> bool:
    return "\0" in scope["path"] or _ENCODED_NUL in scope["query_string"]
