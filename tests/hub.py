"""A hub of models on loopback: as much of its API as huggingface_hub asks for to have a folder."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from web import serve

COMMIT = "x-repo-commit"
ERROR = "x-error-code"


class Hub:
    """Models by id, each with its commits, the last of which is `main`.

    Attributes:
        asked: paths, in the order in which they were asked for.
        gated: ids that nobody may have.
        url: where it listens.
    """

    def __init__(self) -> None:
        self._commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        self.gated: set[str] = set()
        self.url = ""

    def publish(self, model: str, files: Path | dict[str, bytes]) -> str:
        """Make a new commit of these files; returns its hash."""
        if isinstance(files, Path):
            files = {str(file.name): file.read_bytes() for file in files.iterdir()}
        commits = self._commits.setdefault(model, {})
        commit = hashlib.sha1(f"{model} {len(commits)}".encode()).hexdigest()
        commits[commit] = files
        return commit

    def app(self) -> Starlette:
        """What serves it."""
        api = "/api/models/{owner}/{name}"
        return Starlette(
            routes=[
                Route(f"{api}/revision/{{revision:path}}", self._info),
                Route(f"{api}/tree/{{revision}}", self._tree),
                Route("/{owner}/{name}/resolve/{revision}/{file:path}", self._file),
            ]
        )

    async def _info(self, request: Request) -> Response:
        commit, files = self._found(request)
        if commit is None:
            return files
        return JSONResponse({"id": "any", "sha": commit, "siblings": []})

    async def _tree(self, request: Request) -> Response:
        commit, files = self._found(request)
        if commit is None:
            return files
        return JSONResponse(
            [
                {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
                for name, content in files.items()
            ]
        )

    async def _file(self, request: Request) -> Response:
        commit, files = self._found(request)
        if commit is None:
            return files
        content = files[request.path_params["file"]]
        return Response(content, headers={"etag": f'"{_oid(content)}"', COMMIT: commit})

    def _found(self, request: Request) -> tuple[str, dict[str, bytes]] | tuple[None, Response]:
        self.asked.append(request.url.path)
        path = request.path_params
        model, revision = f"{path['owner']}/{path['name']}", path["revision"]
        if model in self.gated:
            return None, JSONResponse({}, 403, headers={ERROR: "GatedRepo"})
        if model not in self._commits:
            return None, JSONResponse({}, 404, headers={ERROR: "RepoNotFound"})
        commits = self._commits[model]
        commit = [*commits][-1] if revision == "main" else revision
        if commit not in commits:
            return None, JSONResponse({}, 404, headers={ERROR: "RevisionNotFound"})
        return commit, commits[commit]


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(cache: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub asks in this process, and keeps what it has of in `cache`."""
    hub = Hub()
    with serve(hub.app()) as hub.url, pytest.MonkeyPatch.context() as patch:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        yield hub
