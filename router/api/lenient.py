"""Requests as clients really send them: `HEAD` for `GET`, and paths that end in a slash."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Lenient:
    """ASGI middleware that rewrites such requests; the HTTP server sends no body to a `HEAD`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        changed = {**scope, "method": method, "path": scope["path"].rstrip("/") or "/"}
        try:
            await self._app(changed, receive, send)
        finally:
            # The route that was found names the request in the metrics.
            scope["route"] = changed.get("route")
