"""A client of Myriad's HTTP API: what the commands ask a running server.

Everything foreign that can go wrong (httpx, JSON, the server's refusals) becomes one of this
package's errors here and nowhere else.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from deploy.errors import InvalidSetting, ServerRefused, ServerUnreachable
from router.loopback import is_loopback

Json = dict[str, Any]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
CHUNK_SECONDS = 600.0
"""A chat may wait in the engine's queue for its first chunk."""
PAGE = 100


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server takes requests, and what it says of itself."""

    ready: bool
    details: Json


class Client:
    """Talks to the server at `url`; to be closed, or used in a `with`.

    Every method raises ServerUnreachable when nobody answers and ServerRefused when the server
    answers with an error.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        address = _address(url)
        self.url = str(address).rstrip("/")
        self.key: str | None = None
        self._http = httpx.Client(
            base_url=address,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # Reading the certificates takes longer than most answers.
            verify=address.scheme == "https",
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=not is_loopback(address.host),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def use_key(self, key: str | None) -> None:
        """Send an API key from now on; None sends none.

        Raises:
            InvalidSetting: it is no key.
        """
        if key is None:
            return
        if not key.isascii() or not key.isprintable():
            raise InvalidSetting("that is no API key: it begins with mk_, in one line")
        self._http.headers["authorization"] = f"Bearer {key}"
        self.key = key

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def chat(self, messages: Sequence[Json], model: str, **sampling: Any) -> Iterator[Json]:
        """Stream an answer's chunks; the first carries `routing`, the last `usage`.

        Args:
            messages: each with `role` and `content`.
            model: `auto`, a reference, or the base's name.
            sampling: `max_tokens`, `temperature`, `seed`; None leaves the server's default.
        """
        given = {name: value for name, value in sampling.items() if value is not None}
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": model, "messages": list(messages), **given, **stream}
        timeout = httpx.Timeout(CHUNK_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._translated(),
            self._http.stream(
                "POST", "/v1/chat/completions", json=body, timeout=timeout
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            yield from self._chunks(response)

    def route(
        self, text: str, explain: bool = False, options: Mapping[str, Any] | None = None
    ) -> Json:
        """The decision on a text, nothing generated; with the nearest examples if wanted."""
        asked = {"input": text, "explain": explain, "routing": options or {}}
        return self._object("POST", "/v1/route", json=asked)

    def register(
        self,
        card: Mapping[str, Any],
        config: Path,
        weights: Path,
        alias: str | None = None,
        visibility: str | None = None,
    ) -> Json:
        """Register an adapter's two files under a card, and point an alias to the version."""
        with ExitStack() as stack:
            files: dict[str, Any] = {"card": ("card.json", json.dumps(card), "application/json")}
            for file in (config, weights):
                content = stack.enter_context(file.open("rb"))
                files[file.stem] = (file.name, content, "application/octet-stream")
            query = {"alias": alias, "visibility": visibility}
            given = {name: value for name, value in query.items() if value is not None}
            return self._object("POST", "/v1/specialists", files=files, params=given)

    def tree(self, domain: str | None, limit: int) -> Json:
        """Domains, their niches, and of each the first specialists."""
        given = {"limit": limit} | ({} if domain is None else {"domain": domain})
        return self._object("GET", "/v1/catalogue/tree", params=given)

    def specialists(
        self, search: str | None = None, tag: str | None = None, limit: int = PAGE
    ) -> Json:
        """Up to `limit` specialists as `{"object": "list", "data": […], "has_more": …}`."""
        query = {"search": search, "tag": tag}
        data: list[Json] = []
        cursor: str | None = None
        while True:
            page = self._page(query | {"cursor": cursor}, limit - len(data))
            data += page["data"]
            cursor = page.get("next_cursor")
            if cursor is None or len(data) >= limit:
                return {"object": "list", "data": data, "has_more": bool(page["has_more"])}

    def specialist(self, specialist: str) -> Json:
        """One specialist: its live version, its card, its aliases."""
        return self._object("GET", f"/v1/specialists/{specialist}")

    def aliases(self, specialist: str) -> Json:
        """What each alias of a specialist points to, as a list object."""
        return self._object("GET", f"/v1/specialists/{specialist}/aliases")

    def history(self, specialist: str, alias: str) -> Json:
        """Where an alias has pointed, the latest first, as a list object."""
        return self._object("GET", f"/v1/specialists/{specialist}/aliases/{alias}/history")

    def point(self, specialist: str, alias: str, fields: Mapping[str, Any]) -> Json:
        """Point an alias to a version, and protect it or no longer."""
        return self._object("PUT", f"/v1/specialists/{specialist}/aliases/{alias}", json=fields)

    def try_out(self, specialist: str, fields: Mapping[str, Any]) -> Json:
        """Give a share of the requests for `prod` to another version."""
        return self._object("PUT", f"/v1/specialists/{specialist}/canary", json=fields)

    def rate(self, fields: Mapping[str, Any]) -> Json:
        """Say what somebody thinks of an answer."""
        return self._object("POST", "/v1/feedback", json=fields)

    def roll_back(self, specialist: str, alias: str, fields: Mapping[str, Any]) -> Json:
        """Point an alias to what it pointed at before."""
        path = f"/v1/specialists/{specialist}/aliases/{alias}/rollback"
        return self._object("POST", path, json=fields)

    def lineage(self, specialist: str, version: str = "") -> Json:
        """Where a version comes from and what stands on it, as nodes and edges."""
        query = {"version": version} if version else {}
        return self._object("GET", f"/v1/specialists/{specialist}/lineage", params=query)

    def standing_on(self, relation: str, subject: str) -> Json:
        """What was made from a base, a data set, a teacher; the same form."""
        query = {"relation": relation, "subject": subject}
        return self._object("GET", "/v1/lineage", params=query)

    def show_to(self, specialist: str, visibility: str) -> Json:
        """Say who finds a specialist besides its owner."""
        path = f"/v1/specialists/{specialist}/visibility"
        return self._object("PUT", path, json={"visibility": visibility})

    def retire(self, specialist: str) -> None:
        """Take a specialist out of service."""
        self._answer("DELETE", f"/v1/specialists/{specialist}")

    def export(self, specialist: str, number: int, into: Path) -> None:
        """Write a version's bundle into a file."""
        path = f"/v1/specialists/{specialist}/versions/{number}/bundle"
        with (
            self._translated(),
            self._http.stream("GET", path) as response,
            into.open("wb") as file,
        ):
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            for piece in response.iter_bytes():
                file.write(piece)

    def score(self, specialist: str, number: int, scores: Sequence[Json]) -> Json:
        """Note held-out scores of a version."""
        path = f"/v1/specialists/{specialist}/versions/{number}/scores"
        return self._object("POST", path, json={"scores": list(scores)})

    def release(self, specialist: str, number: int) -> Json:
        """Let a quarantined version be served."""
        return self._object("POST", f"/v1/specialists/{specialist}/versions/{number}/release")

    def restore(self, specialist: str) -> Json:
        """Bring a retired specialist back as it was."""
        return self._object("POST", f"/v1/specialists/{specialist}/restore")

    def send(self, file: Path) -> Json:
        """Send a file of rows to learn from."""
        with file.open("rb") as content:
            sent = {"file": (file.name, content, "application/octet-stream")}
            purpose = {"purpose": "fine-tune"}
            return self._object("POST", "/v1/files", files=sent, data=purpose)

    def create_job(self, fields: Mapping[str, Any]) -> Json:
        """Have a specialist trained."""
        return self._object("POST", "/v1/fine_tuning/jobs", json=fields)

    def conversations(self, specialist: str | None, asked: Mapping[str, Any]) -> Iterator[Json]:
        """What a specialist, or the base, was asked that you may learn from, the oldest first."""
        query = dict(asked)
        whose = "base" if specialist is None else f"specialists/{specialist}"
        path = f"/v1/{whose}/conversations"
        while True:
            found = self._object("GET", path, params=query)
            yield from found["data"]
            if not found["has_more"]:
                return
            query["after"] = found["last_id"]

    def jobs(self, limit: int) -> Json:
        """The latest jobs, as a list object."""
        return self._object("GET", "/v1/fine_tuning/jobs", params={"limit": limit})

    def job(self, job: str) -> Json:
        """How far a job is, and what came of it."""
        return self._object("GET", f"/v1/fine_tuning/jobs/{job}")

    def change_job(self, job: str, verb: str) -> Json:
        """Cancel, pause or resume a job."""
        return self._object("POST", f"/v1/fine_tuning/jobs/{job}/{verb}")

    def job_events(self, job: str, limit: int, after: str | None = None) -> Json:
        """What there is to tell of a job, the latest first, as a list object."""
        query: dict[str, Any] = {"limit": limit} | ({} if after is None else {"after": after})
        return self._object("GET", f"/v1/fine_tuning/jobs/{job}/events", params=query)

    def models(self) -> list[Json]:
        """All that may be named as `model`."""
        listed = self._object("GET", "/v1/models").get("data", [])
        return [dict(model) for model in listed]

    def base(self) -> str | None:
        """The name of the base that is served."""
        names = (str(model.get("id")) for model in self.models())
        return next((name for name in names if name != "auto" and "/" not in name), None)

    def ready(self) -> Readiness:
        """Whether the server takes requests now."""
        with self._translated():
            response = self._http.get("/readyz")
        if response.status_code not in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE):
            raise self._refusal(response)
        return Readiness(response.is_success, self._parsed(response))

    def metrics(self) -> str:
        """The server's metrics in Prometheus' text format."""
        return self._answer("GET", "/metrics").text

    def _page(self, query: Mapping[str, str | None], limit: int) -> Json:
        given = {name: value for name, value in query.items() if value is not None}
        page = self._object("GET", "/v1/specialists", params={**given, "limit": min(limit, PAGE)})
        if not isinstance(page.get("data"), list) or "has_more" not in page:
            raise self._misread(httpx.codes.OK)
        return page

    def _object(self, method: str, path: str, **options: Any) -> Json:
        return self._parsed(self._answer(method, path, **options))

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._translated():
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise self._refusal(response)
        return response

    def _parsed(self, response: httpx.Response) -> Json:
        return self._read(response.content, response.status_code)

    def _read(self, content: bytes, status: int) -> Json:
        try:
            found = json.loads(content)
        except ValueError:
            raise self._misread(status) from None
        if not isinstance(found, dict):
            raise self._misread(status)
        return found

    def _chunks(self, response: httpx.Response) -> Iterator[Json]:
        for data in _events(response.iter_bytes()):
            if data == b"[DONE]":
                return
            chunk = self._read(data, response.status_code)
            if "error" in chunk:
                raise self._refused(httpx.codes.INTERNAL_SERVER_ERROR, chunk)
            yield chunk
        raise ServerUnreachable(f"{self.url} broke the answer off: see `myriad status`")

    def _refusal(self, response: httpx.Response) -> ServerRefused:
        return self._refused(response.status_code, self._parsed(response))

    def _refused(self, status: int, body: Json) -> ServerRefused:
        match body:
            case {"error": {"message": str(message), **rest}}:
                code = rest.get("code")
                return ServerRefused(status, message, None if code is None else str(code))
        return self._misread(status)

    def _misread(self, status: int) -> ServerRefused:
        return ServerRefused(
            status,
            f"{self.url} answered {status}, but not as Myriad does: is another program there? "
            "Set MYRIAD_URL to Myriad's address",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"nothing answers at {self.url}: start it with `myriad up`, or set MYRIAD_URL"
            ) from error
        except httpx.TimeoutException as error:
            raise ServerUnreachable(
                f"{self.url} did not answer in time: see `myriad status`"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ServerUnreachable(
                f"the connection to {self.url} broke off ({type(error).__name__}): "
                "see `myriad status`"
            ) from error


def _events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The data of server-sent events, one line each, from a stream cut anywhere.

    https://html.spec.whatwg.org/multipage/server-sent-events.html. Lines are cut as bytes: cut as
    text they would also end at U+2028 and the like, which JSON may hold.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise InvalidSetting(
            f"{url!r} is not a server's address: write it like http://127.0.0.1:8000"
        )
    return address
