"""The HTTP API on a real server in a thread, over a real registry, with the router's fakes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import tiny_adapter
from hashed import HashedWords
from homes import open_registry
from on_postgres import SERVER
from patience import HANGS
from scripted import ScriptedEngine
from web import serve

from registry.registry import Registry
from registry.version import Version
from router.api.app import create_app
from router.service import Service

BASE = tiny_adapter.BASE.name
ASKED_IN_JSON = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/route",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
]
FRENCH = ["translate dog into french", "translate bread into french", "what is cheese in french"]
WEATHER = ["weather forecast for lima", "the weather forecast for oslo", "weather in rome"]


def register(registry: Registry, id: str = "ada/coach", seed: int = 0, **fields) -> Version:  # noqa: A002
    card = tiny_adapter.card(id, **fields)
    config, weights = tiny_adapter.config(), tiny_adapter.weights(seed=seed)
    return registry.register(card, config, weights)[0]


@contextmanager
def service(home: Path, **options) -> Iterator[Service]:
    """A service whose routes know ada/french and bob/weather, and follow only by `refresh`."""
    if SERVER is None:
        shutil.copytree(_filled_home().name, home, dirs_exist_ok=True)
    registry = open_registry(home)
    if SERVER is not None:
        _fill(registry)
    options = {"cache": home / "cache"} | options
    made = Service(registry, ScriptedEngine(), HashedWords(), BASE, **options)
    made.follower.refresh()
    yield made
    for pool in vars(made.pools).values():
        # What a thread still reads would be read from a database that is closed.
        pool._executor.shutdown()
    registry.close()


def _fill(registry: Registry) -> None:
    register(registry, "ada/french", examples=FRENCH, tags=["language"])
    register(registry, "bob/weather", seed=1, examples=WEATHER)


@cache
def _filled_home() -> TemporaryDirectory:
    """A home with both specialists, made once: to copy it takes less than to migrate another."""
    folder = TemporaryDirectory()
    home = Path(folder.name)
    registry = open_registry(home)
    _fill(registry)
    made = Service(registry, ScriptedEngine(), HashedWords(), BASE, cache=home / "cache")
    made.follower.refresh()
    registry.close()
    return folder


@contextmanager
def served(made: Service, **options) -> Iterator[str]:
    """The service's URL."""
    with serve(create_app(made, **options)) as url:
        yield url


def http_client(url: str, **options) -> httpx.Client:
    """A client that no slow machine hurries."""
    return httpx.Client(base_url=url, trust_env=False, timeout=HANGS, **options)


def events(text: str) -> list:
    """The data of a stream's events; `[DONE]` stays as it is."""
    data = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [block if block == "[DONE]" else json.loads(block) for block in data]
