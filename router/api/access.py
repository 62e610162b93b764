"""Who may reach the API through a browser: pages of this server's own, and those that are allowed.

A page of any origin can make a browser send requests to a server on loopback, and by DNS rebinding
even call it by a name of its own. What browsers say of themselves tells such requests apart:
https://developer.mozilla.org/docs/Web/HTTP/Headers/Origin, …/Host and …/Sec-Fetch-Site.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from router.api.failures import failure
from router.errors import Forbidden
from router.loopback import is_loopback

ANY = "*"
EXPOSED = ("x-request-id", "x-myriad-specialist", "retry-after")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
PREFLIGHT_SECONDS = 600
SHOWN = 80


@dataclass(frozen=True, slots=True)
class AccessRules:
    """By which names the server may be called, and from pages of which other origins.

    Attributes:
        hosts: Names beside those of this machine's loopback, without port; "*" is any.
        origins: Such as `https://chat.example.org`; "*" is any.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def check(self, method: str, headers: Headers) -> None:
        """Let a request pass.

        Raises:
            Forbidden: It came under another name, or from a page that is not allowed.
        """
        host = headers.get("host", "")
        if host and not self._is_ours(host):
            raise Forbidden(
                f"This server is not called {_shown(host)}; use 127.0.0.1, or add the name to "
                "MYRIAD_ALLOWED_HOSTS.",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is not None:
            self._check_origin(origin, host)
        elif _comes_from_elsewhere(headers) and not _is_a_visit(method, headers):
            raise _foreign("A page of another origin")

    def _check_origin(self, origin: str, host: str) -> None:
        own = urlsplit(origin).netloc == host != ""
        if not own and not {origin, ANY} & set(self.origins):
            raise _foreign(f"A page of {_shown(origin)}")

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return ANY in self.hosts or name in self.hosts or is_loopback(name)


class Access:
    """ASGI middleware: refuses by `AccessRules`, and lets allowed origins read the answers."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._rules = rules
        self._app = CORSMiddleware(
            app,
            allow_origins=rules.origins,
            allow_methods=METHODS,
            allow_headers=[ANY],
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._rules.check(scope.get("method", "GET"), Headers(scope=scope))
            except Forbidden as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _refuse(error: Forbidden, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await failure(error).answer(scope["path"])(scope, receive, send)
    else:
        # Closed before it was accepted, a connection gets a 403.
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})


def _foreign(who: str) -> Forbidden:
    return Forbidden(
        f"{who} may not use this server; add its origin to MYRIAD_ALLOWED_ORIGINS to let it.",
        code="origin_not_allowed",
    )


def _comes_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site's page caused the request; others say nothing."""
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _is_a_visit(method: str, headers: Headers) -> bool:
    """Somebody follows a link to a page here: nothing is changed, and nobody else can read it."""
    shown = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return method in ("GET", "HEAD") and shown == ("navigate", "document")


def _name(host: str) -> str:
    """A Host header without its port, `[::1]:8000` as `::1`."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.strip("[]").rstrip(".").lower()


def _shown(text: str) -> str:
    """What a client sent, short and printable."""
    return ascii(text[:SHOWN])
