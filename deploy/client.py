"""A client of Myriad's HTTP API: what the commands ask a running server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.connection import CONNECT_SECONDS, Connection, Json

CHUNK_SECONDS = 600.0
"""A chat may wait in the engine's queue for its first chunk."""
PAGE = 100
DAYS = 31
"""Of usage, on a page."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server takes requests, and what it says of itself."""

    ready: bool
    details: Json


class Client(Connection):
    """Asks the server for each thing that it does."""

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
        with self._stream("POST", "/v1/chat/completions", json=body, timeout=timeout) as response:
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
        self._download(f"/v1/specialists/{specialist}/versions/{number}/bundle", into)

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

    def send(self, file: Path, purpose: str = "fine-tune") -> Json:
        """Send a file: of rows to learn from, or for another purpose."""
        with file.open("rb") as content:
            sent = {"file": (file.name, content, "application/octet-stream")}
            return self._object("POST", "/v1/files", files=sent, data={"purpose": purpose})

    def fetch(self, file: str, into: Path) -> None:
        """Write what a file holds into another."""
        self._download(f"/v1/files/{file}/content", into)

    def create_batch(self, file: str, endpoint: str) -> Json:
        """Have the requests of a file answered."""
        asked = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}
        return self._object("POST", "/v1/batches", json=asked)

    def batches(self, limit: int) -> Json:
        """The latest batches, as a list object."""
        return self._object("GET", "/v1/batches", params={"limit": limit})

    def batch(self, batch: str) -> Json:
        """How far a batch is, and what came of it."""
        return self._object("GET", f"/v1/batches/{batch}")

    def cancel_batch(self, batch: str) -> Json:
        """End a batch."""
        return self._object("POST", f"/v1/batches/{batch}/cancel")

    def create_job(self, fields: Mapping[str, Any]) -> Json:
        """Have a specialist trained."""
        return self._object("POST", "/v1/fine_tuning/jobs", json=fields)

    def conversations(self, specialist: str | None, asked: Mapping[str, Any]) -> Iterator[Json]:
        """What a specialist, or the base, was asked that you may learn from, the oldest first."""
        whose = "base" if specialist is None else f"specialists/{specialist}"
        return self._all(f"/v1/{whose}/conversations", asked, "after", "last_id")

    def usage(
        self, since: int, by: Sequence[str] = (), specialist: str | None = None
    ) -> Iterator[Json]:
        """What your keys used, or a specialist of yours answered: a bucket for each day."""
        whose = "organization" if specialist is None else f"specialists/{specialist}"
        path = f"/v1/{whose}/usage" + ("/completions" if specialist is None else "")
        asked = {"start_time": since, "limit": DAYS, "group_by[]": list(by)}
        return self._all(path, asked, "page", "next_page")

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

    def _download(self, path: str, into: Path) -> None:
        with self._stream("GET", path) as response, into.open("wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)

    def _all(self, path: str, asked: Mapping[str, Any], cursor: str, field: str) -> Iterator[Json]:
        """What all pages hold; what a page has in `field` asks for the next one as `cursor`."""
        query = dict(asked)
        while True:
            found = self._object("GET", path, params=query)
            yield from found["data"]
            if not found["has_more"]:
                return
            query[cursor] = found[field]

    def _page(self, query: Mapping[str, str | None], limit: int) -> Json:
        given = {name: value for name, value in query.items() if value is not None}
        page = self._object("GET", "/v1/specialists", params={**given, "limit": min(limit, PAGE)})
        if not isinstance(page.get("data"), list) or "has_more" not in page:
            raise self._misread(httpx.codes.OK)
        return page
