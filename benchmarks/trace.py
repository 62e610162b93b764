"""Does it matter how many adapters there are? S-LoRA's synthetic trace (Sheng et al. 2023, 7.1).

Requests come at random (Gamma intervals), each for an adapter drawn by a power law, at a share of
the rate at which the same engine is saturated with one adapter. The same arrivals, prompts and
lengths are asked of 1, 32, 1,000 and 10,000 adapters, turn by turn. Adapters are random weights
over all linears, of ranks 8 to 64; so many as files are distinct on disk, and all have a version of
their own, so that the engine loads each by itself.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track

from benchmarks.adapters import random_adapter
from benchmarks.load import percentile
from benchmarks.report import Row as Figure
from benchmarks.report import at_least, at_most, show, write_json
from deploy.replica import settled
from deploy.settings import read_settings
from registry.files import AdapterFiles
from specialists.base import Base, locate_base
from specialists.engine.backend import Request
from specialists.engine.core import SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Runner

COUNTS = (1, 32, 1_000, 10_000)
RANKS = (8, 16, 32, 64)
FILES = 32
ALPHA, CV = 0.3, 1.0
"""Of the power law, and of the intervals (standard deviation by mean)."""
SHARE = 0.8
"""Of the rate that saturates the engine."""
PROMPT, ANSWER = (8, 128), (8, 64)
"""Tokens, drawn evenly."""
CLIENTS = 32
FIRST_SECONDS = 6.0
WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the trace; `place` in [0, 1) says which of however many adapters it is for."""

    at: float
    place: float
    prompt: list[int]
    answer: int


@dataclass
class Seen:
    """What came of a trace."""

    tokens: int = 0
    seconds: float = 0.0
    firsts: list[float] = field(default_factory=list)
    loads: int = 0

    @property
    def throughput(self) -> float:
        """Tokens of answers in a second, from the first arrival to the last end."""
        return self.tokens / self.seconds


def trace(rate: float, seconds: float, seed: int = 0) -> list[Asked]:
    """Requests of so many seconds, at a rate per second."""
    random, at = Random(seed), 0.0
    asked: list[Asked] = []
    while (at := at + random.gammavariate(1 / CV**2, CV**2 / rate)) < seconds:
        asked.append(_asked(random, at))
    return asked


def _asked(random: Random, at: float) -> Asked:
    # numpy.random.power(ALPHA), by which S-LoRA draws, is this power of an even draw.
    place = random.random() ** (1 / ALPHA)
    prompt = [random.randrange(100, 40_000) for _ in range(random.randint(*PROMPT))]
    return Asked(at, place, prompt, random.randint(*ANSWER))


class Engine:
    """Our engine, with as many adapters as are asked for."""

    def __init__(self, base: Base, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._numbers = count()
        self._runner = Runner.from_folder(
            base.folder, self._locate, EngineOptions(drafts=0), max_waiting=WAITING
        )
        eos = self._runner.tokenizer.eos
        self._endless = tuple((token, -100.0) for token in eos)
        settled()

    def close(self) -> None:
        """Stop it."""
        self._runner.close()

    async def answer(self, asked: Asked, adapters: int, seen: Seen) -> None:
        """Answer one request with its adapter, of so many."""
        number = int(asked.place * adapters)
        params = SamplingParams(asked.answer, temperature=0.0, logit_bias=self._endless)
        request = Request(
            str(next(self._numbers)), _digest(adapters, number), asked.prompt, 1, params
        )
        began, first = time.perf_counter(), 0.0
        async for emissions in self._runner.generate(request):
            first = first or time.perf_counter() - began
            seen.tokens += len(emissions)
        seen.firsts.append(first)

    async def saturated(self, seconds: float) -> float:
        """Requests that one adapter answers in a second, with as many clients as rows."""
        random, seen, began = Random(1), Seen(), time.perf_counter()

        async def client() -> None:
            while time.perf_counter() - began < seconds:
                await self.answer(_asked(random, 0.0), 1, seen)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return len(seen.firsts) / (time.perf_counter() - began)

    async def served(self, asked: Iterable[Asked], adapters: int) -> Seen:
        """Answer a trace, each request when it comes."""
        seen, loads = Seen(), self._runner.stats()["adapter_loads_total"]
        began = time.perf_counter()

        async def one(each: Asked) -> None:
            await asyncio.sleep(began + each.at - time.perf_counter())
            await self.answer(each, adapters, seen)

        await asyncio.gather(*map(one, asked))
        seen.seconds = time.perf_counter() - began
        seen.loads = self._runner.stats()["adapter_loads_total"] - loads
        return seen

    def _locate(self, digest: str) -> AdapterFiles:
        number = int(digest.rpartition(":")[2], 16) & 0xFFFF_FFFF
        return AdapterFiles.in_folder(self._folders[number % len(self._folders)])


def _digest(adapters: int, number: int) -> str:
    """One adapter of a catalogue of so many; no two catalogues share any."""
    return f"sha256:{adapters:016x}{number:048x}"


def measure(engine: Engine, seconds: float, rounds: int) -> tuple[float, dict[int, list[Seen]]]:
    """The rate that was asked at, and what was seen of each catalogue, turn by turn."""
    with asyncio.Runner() as loop:
        rate = SHARE * loop.run(engine.saturated(seconds / 2))
        seen: dict[int, list[Seen]] = {adapters: [] for adapters in COUNTS}
        for number in track(range(rounds), "Serving the trace", console=Console(stderr=True)):
            asked = trace(rate, seconds, number)
            for adapters in COUNTS:
                seen[adapters].append(loop.run(engine.served(asked, adapters)))
    return rate, seen


def figures(rate: float, seen: Mapping[int, Sequence[Seen]]) -> list[Figure]:
    """What was promised, and what was seen."""
    rows = [Figure("trace.rate", rate, "requests/s")]
    speed = {
        adapters: statistics.median(each.throughput for each in rounds)
        for adapters, rounds in seen.items()
    }
    for adapters, rounds in seen.items():
        firsts = [first for each in rounds for first in each.firsts]
        rows += [
            Figure(f"trace.throughput.{adapters}", speed[adapters], "tokens/s"),
            Figure(f"trace.loads.{adapters}", statistics.mean(r.loads for r in rounds), ""),
            Figure(f"trace.first_token.p50.{adapters}", percentile(firsts, 0.5), "s"),
            Figure(f"trace.first_token.p99.{adapters}", percentile(firsts, 0.99), "s"),
            at_most(f"trace.first_token.max.{adapters}", max(firsts), "s", FIRST_SECONDS),
        ]
    return [
        *rows,
        *(
            at_least(f"trace.ratio.{adapters} to 1", speed[adapters] / speed[1], "ratio", 0.9)
            for adapters in COUNTS[1:]
        ),
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of a trace")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [
            random_adapter(base, Path(scratch, str(number)), RANKS[number % len(RANKS)], number)
            for number in range(FILES)
        ]
        engine = Engine(base, folders)
        try:
            rows = figures(*measure(engine, arguments.seconds, arguments.rounds))
        finally:
            engine.close()
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
