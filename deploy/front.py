"""What stands before Serve's own proxy; headers by which a client would steer Serve have no power.

Serve's proxy obeys some request headers before the application sees the request: a time-out of the
client's choosing, work that goes on without a client, a replica picked by an id. They are for those
who run a cluster, not for those who ask it something.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.shedding import Shedding
from deploy.steady import Steady

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


def middlewares() -> list[Middleware]:
    """What Serve's proxy puts around itself (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH)."""
    return [Middleware(WithoutSteering), Middleware(Shedding), Middleware(Steady)]


def _steers(name: bytes) -> bool:
    # Serve takes hyphens and underscores for the same.
    plain = name.decode("latin-1").lower().replace("-", "_")
    return plain in STEERING or plain.startswith(PREFIXES)
