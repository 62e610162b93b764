"""A real server on loopback for the commands to talk to, and a way to run them as a user does."""

import asyncio
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import homes
import tiny_adapter
from hashed import HashedWords
from scripted import ScriptedEngine
from web import serve

from deploy.cli import main
from registry.base import BaseSpec
from registry.registry import Registry
from router.api.app import create_app
from router.routing.follower import Follower
from router.service import Service

COACH = {
    "id": "ada/coach",
    "description": "Rehearses salary talks.",
    "tags": ["pay"],
    "examples": ["help me ask for a raise"],
    "evaluation": [{"metric": "exact_match", "value": 0.9, "base_value": 0.1, "rows": 7}],
}
PIRATE = {
    "id": "bob/pirate",
    "description": "Talks like a pirate.",
    "examples": ["tell me a tale of the sea"],
}


@dataclass(frozen=True)
class Live:
    """A server, its parts, and where it listens."""

    url: str
    engine: ScriptedEngine
    registry: Registry
    follower: Follower


@contextmanager
def live(home: Path, base: BaseSpec = tiny_adapter.BASE) -> Iterator[Live]:
    """Myriad's own API over a scripted engine, with two specialists when the base is the tiny."""
    registry = homes.open_registry(home, base)
    if base is tiny_adapter.BASE:
        for seed, fields in enumerate((COACH, PIRATE)):
            card = tiny_adapter.card(**fields)
            registry.register(card, tiny_adapter.config(), tiny_adapter.weights(seed=seed))
    engine = ScriptedEngine()
    service = Service(registry, engine, HashedWords(), base.name)
    asyncio.run(service.start())
    service.follower.refresh()
    try:
        with serve(create_app(service)) as url:
            yield Live(url, engine, registry, service.follower)
    finally:
        asyncio.run(service.stop())
        registry.close()


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """Standard input with a person behind it."""

    def isatty(self) -> bool:
        return True


def myriad(*words: str, stdin: io.StringIO | None = None) -> Ran:
    """Run a command in this process; without `stdin` its standard input is empty."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = stdin or io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
    finally:
        sys.stdin = before
    return Ran(code, out.getvalue(), err.getvalue())


MLX = Path(__file__).parents[1] / "adapters" / "mlx-0.32.2" / "all"
"""An adapter that MLX has saved, for a Llama of the tiny base's shapes."""


def adapter_folder(folder: Path, seed: int = 7) -> Path:
    """A folder with an adapter that fits the tiny base."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_bytes(tiny_adapter.config())
    (folder / "adapter_model.safetensors").write_bytes(tiny_adapter.weights(seed=seed))
    return folder
