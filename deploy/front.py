"""What stands before Serve's own proxy: what Serve would do with a request that is not to be done.

Serve's proxy obeys some request headers before the application sees the request: a time-out of the
client's choosing, work that goes on without a client, a replica picked by an id. They are for those
who run a cluster, not for those who ask it something. And it gives an id only to what passes it.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.direct import Direct
from deploy.shedding import Shedding
from deploy.steady import Steady
from router.api.boundary import HEADER, request_id

STEERING = {"x_request_timeout_seconds", "x_request_disconnect_disabled", "x_session_id"}
PREFIXES = ("serve_", "x_serve_")


class WithoutSteering:
    """ASGI middleware that takes Serve's control headers out of every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if "headers" in scope:
            kept = [(name, value) for name, value in scope["headers"] if not _steers(name)]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


class Named:
    """ASGI middleware that gives every request its id, and every response that of its request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = request_id(Headers(scope=scope))
        others = [pair for pair in scope["headers"] if pair[0] != HEADER.encode()]
        scope = {**scope, "headers": [*others, (HEADER.encode(), given.encode())]}

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                # In the place of those that others have put there.
                MutableHeaders(scope=message)[HEADER] = given
            await send(message)

        await self._app(scope, receive, named)


def middlewares() -> list[Middleware]:
    """What Serve's proxy puts around itself, the innermost first.

    It looks for them by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
    """
    return [Middleware(each) for each in (Direct, WithoutSteering, Shedding, Steady, Named)]


def _steers(name: bytes) -> bool:
    # Serve takes hyphens and underscores for the same.
    plain = name.decode("latin-1").lower().replace("-", "_")
    return plain in STEERING or plain.startswith(PREFIXES)
