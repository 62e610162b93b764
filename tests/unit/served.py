"""The HTTP API on a real server in a thread, over a real registry, with the router's fakes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_adapter
import uvicorn
from patience import HANGS

from registry.catalogue import Registry
from registry.version import Version
from router.api.app import create_app
from router.hashed import HashedWords
from router.scripted import ScriptedEngine
from router.service import Service

BASE = tiny_adapter.BASE.name
FRENCH = ["translate dog into french", "translate bread into french", "what is cheese in french"]
WEATHER = ["weather forecast for lima", "the weather forecast for oslo", "weather in rome"]


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"


def register(registry: Registry, id: str = "ada/coach", seed: int = 0, **fields) -> Version:  # noqa: A002
    card = tiny_adapter.card(id, **fields)
    config, weights = tiny_adapter.config(), tiny_adapter.weights(seed=seed)
    return registry.register(card, config, weights)[0]


def open_registry(home: Path) -> Registry:
    return Registry.open(home, tiny_adapter.BASE)


@contextmanager
def service(home: Path, **options) -> Iterator[Service]:
    """A service whose routes know ada/french and bob/weather, and follow only by `refresh`."""
    registry = open_registry(home)
    register(registry, "ada/french", examples=FRENCH, tags=["language"])
    register(registry, "bob/weather", seed=1, examples=WEATHER)
    made = Service(registry, ScriptedEngine(), HashedWords(), BASE, **options)
    made.follower.refresh()
    yield made
    registry.close()


@contextmanager
def served(made: Service) -> Iterator[str]:
    """The service's URL."""
    config = uvicorn.Config(create_app(made), port=0, log_level="error", lifespan="off")
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(HANGS)
    yield server.url
    server.should_exit = True
    thread.join(HANGS)
    assert not thread.is_alive()


def events(text: str) -> list:
    """The data of a stream's events; `[DONE]` stays as it is."""
    data = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [block if block == "[DONE]" else json.loads(block) for block in data]
