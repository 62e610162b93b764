"""What the way through HTTP costs: 32 streams against the engine in process, first tokens, routes.

A cluster is started with 32 specialists of random weights; this process is the client, and runs the
same engine by itself beside it, turn by turn. All of it shares this machine's cores.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp

from benchmarks.adapters import random_adapter
from benchmarks.cluster import running
from benchmarks.engine import HIGH, ROWS, Case, Ours, prompt_of
from benchmarks.load import session
from benchmarks.report import Row as Figure
from benchmarks.report import alternating, at_least, at_most, command
from deploy.home import open_registry
from deploy.settings import Settings
from registry.card import Card
from registry.files import AdapterFiles
from registry.registry import Registry
from specialists.base import Base

STREAMS = Case(ROWS, HIGH)
PROMPT = 32
FIRST = Case(1, HIGH[:1], prompt=PROMPT, answer=1)
AUTO = {"model": "auto", "prompt": "word " * PROMPT}
OWNER = "bench"
ROUTED = 16
"""Texts of each client."""


@dataclass(frozen=True)
class Server:
    """A running cluster."""

    url: str
    never: Mapping[int, float]
    """A bias against what ends answers: all have the same length."""
    _asked: Iterator[int] = field(default_factory=count)

    async def streams(self, case: Case, *, stream: bool = True) -> float:
        """Seconds that the case's rows take, each a request of its own."""
        async with self._client() as http:
            began = time.perf_counter()
            await asyncio.gather(
                *(self._answer(http, self._body(case, row) | {"stream": stream})
                  for row in range(case.rows))
            )  # fmt: skip
            return time.perf_counter() - began

    async def decisions(self, clients: int) -> float:
        """Decisions a second on texts that were never asked before."""
        async with self._client() as http:
            began = time.perf_counter()
            await asyncio.gather(*(self._decide(http) for _ in range(clients)))
            return clients * ROUTED / (time.perf_counter() - began)

    async def first(self, case: Case, **body: object) -> float:
        """Seconds to the first event of a row's answer, nothing else being asked.

        The connection is open already, and the answer is read to its end.
        """
        body = self._body(case, 0) | {"stream": True, "max_tokens": 2} | body
        first: float | None = None
        async with self._client() as http:
            async with http.get("/healthz") as response:
                await response.read()
            began = time.perf_counter()
            async with http.post("/v1/completions", json=body) as response:
                async for line in response.content:
                    if first is None and line.startswith(b"data: "):
                        first = time.perf_counter() - began
        assert first is not None
        return first

    @property
    def _bias(self) -> dict[str, float]:
        return {str(token): bias for token, bias in self.never.items()}

    def _client(self) -> aiohttp.ClientSession:
        return session(self.url, raise_for_status=True)

    def _body(self, case: Case, row: int) -> dict[str, object]:
        adapter = case.adapters[row % len(case.adapters)]
        body: dict[str, object] = {"model": f"{OWNER}/{adapter}", "max_tokens": case.answer}
        # Each time another one: nothing of it was computed before.
        body["prompt"] = prompt_of(row + ROWS * next(self._asked), case.prompt)
        return body | {"temperature": 0, "logit_bias": self._bias}

    async def _decide(self, http: aiohttp.ClientSession) -> None:
        for _ in range(ROUTED):
            text = f"What would you do about case {next(self._asked)}, were you in my place?"
            async with http.post("/v1/route", json={"input": text}) as response:
                await response.read()

    async def _answer(self, http: aiohttp.ClientSession, body: dict[str, object]) -> None:
        async with http.post("/v1/completions", json=body) as response:
            read = await response.read()
        assert b'"finish_reason":"length"' in read, read


def publish(registry: Registry, adapters: dict[str, Path]) -> None:
    """Register the adapters."""
    for name, folder in adapters.items():
        card = Card(id=f"{OWNER}/{name}", description=f"Random weights {name}", examples=(name,))
        files = AdapterFiles.in_folder(folder)
        registry.register(card, files.config.read_bytes(), files.weights.read_bytes())


def measure(ours: Ours, server: Server, rounds: int) -> dict[str, float]:
    """Medians by case, in tokens/s, decisions/s, or seconds."""
    cases: dict[str, Callable[[], float]] = {
        "in process, 32 streams": lambda: STREAMS.tokens / ours.seconds(STREAMS),
        "http, 32 streams": lambda: STREAMS.tokens / asyncio.run(server.streams(STREAMS)),
        "http, 32 in one piece": lambda: (
            STREAMS.tokens / asyncio.run(server.streams(STREAMS, stream=False))
        ),
        "in process, first token": lambda: _median(lambda: ours.seconds(FIRST)),
        "http, first token": lambda: _median(lambda: asyncio.run(server.first(FIRST))),
        "http, first token, auto": lambda: _median(
            lambda: asyncio.run(server.first(FIRST, **AUTO))
        ),
        "route, 1 client": lambda: asyncio.run(server.decisions(1)),
        "route, 32 clients": lambda: asyncio.run(server.decisions(ROWS)),
    }
    for case in cases.values():
        case()  # adapters are loaded, connections made
    return alternating(cases, rounds)


def _median(measured: Callable[[], float]) -> float:
    """Of a few: what takes milliseconds is easily disturbed."""
    return statistics.median(measured() for _ in range(9))


def figures(medians: dict[str, float]) -> list[Figure]:
    """What was promised, and what was seen."""
    streams, first = "32 streams", "first token"
    added = {name: medians[f"http, {name}"] - medians[f"in process, {first}"]
             for name in (first, f"{first}, auto")}  # fmt: skip
    return [
        *(_plain(name, value) for name, value in medians.items()),
        at_least(
            f"serving.ratio.{streams}",
            medians[f"http, {streams}"] / medians[f"in process, {streams}"],
            "ratio",
            0.85,
        ),
        at_most(f"serving.added.{first}", 1000 * added[first], "ms", 20),
        Figure(f"serving.added.{first}, auto", 1000 * added[f"{first}, auto"], "ms"),
        at_least(
            "serving.ratio.route",
            medians["route, 32 clients"] / medians["route, 1 client"],
            "ratio",
            3,
        ),
    ]


def _plain(name: str, value: float) -> Figure:
    if "first" in name:
        return Figure(f"serving.{name}", 1000 * value, "ms")
    return Figure(f"serving.{name}", value, "decisions/s" if "route" in name else "tokens/s")


@contextmanager
def registered(settings: Settings, base: Base) -> Iterator[tuple[Path, dict[str, Path]]]:
    """A home with a specialist of random weights for each of HIGH; and their folders, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "home")
        home.mkdir()
        (home / "base").symlink_to(settings.home / "base")
        folder = Path(scratch, "adapters")
        adapters = {
            name: random_adapter(base, folder / name, 16, at) for at, name in enumerate(HIGH)
        }
        with closing(open_registry(settings.model_copy(update={"home": home}), base)) as registry:
            publish(registry, adapters)
        yield home, adapters


def run(settings: Settings, base: Base, rounds: int) -> list[Figure]:
    """Start the cluster, and measure."""
    with registered(settings, base) as (home, adapters), running(home, MYRIAD_DEMOS="false") as up:
        ours = Ours.from_folder(base, adapters)
        return figures(measure(ours, Server(up.url, ours.never), rounds))


def main() -> None:
    """Measure, print, and write what was asked for."""
    command(__doc__, 7, run)


if __name__ == "__main__":
    main()
