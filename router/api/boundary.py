"""The outermost layer of every request: its id, what is told of it, and errors nobody foresaw."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router import tracing
from router.api.failures import INTERNAL
from router.current import underway
from router.metrics import Metrics

logger = logging.getLogger(__name__)
requests = logging.getLogger("router.requests")
"""A line for every request, at level INFO."""

HEADER = "x-request-id"
LEFT = 499
"""The status of a client that went before there was one, as nginx has it."""
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Boundary:
    """ASGI middleware. `scope["state"]["request_id"]` holds the request's id."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, names_requests: bool = True) -> None:
        self._app = app
        self._metrics = metrics
        self._names_requests = names_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = given
        response = _Response(given if self._names_requests else None, send)
        with underway(given), self._told(scope, response, given):
            try:
                await self._app(scope, receive, response.send)
            except Exception:
                logger.exception("request %s failed", given)
                if response.status is None:
                    await INTERNAL.answer(scope["path"])(scope, receive, response.send)

    @contextmanager
    def _told(self, scope: Scope, response: "_Response", request_id: str) -> Iterator[None]:
        """Tell metrics, spans and the log of a request, once it has ended."""
        began, method = time.perf_counter(), _method(scope)
        with tracing.arrived(method, scope["path"], Headers(scope=scope)) as span:
            try:
                yield
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                status, seconds = response.status or LEFT, time.perf_counter() - began
                self._metrics.answered(method, route, status, seconds)
                tracing.answered(span, method, route, status, request_id)
                said = {"method": method, "route": route, "status": status, "seconds": seconds}
                requests.info("%s %s %d %.3f s", method, route, status, seconds, extra=said)


class _Response:
    """Passes a response on, noting its status (None until it starts) and adding any id."""

    def __init__(self, request_id: str | None, send: Send) -> None:
        self.status: int | None = None
        self._request_id = request_id
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._request_id is not None:
                MutableHeaders(scope=message)[HEADER] = self._request_id
        await self._send(message)


def request_id(headers: Headers) -> str:
    """The client's own id where it is one that logs can carry, else a fresh one."""
    given = headers.get(HEADER, "")
    return given if _SANE.fullmatch(given) else f"req-{uuid4().hex}"


def _method(scope: Scope) -> str:
    known = {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"}
    return scope["method"] if scope["method"] in known else "_OTHER"
