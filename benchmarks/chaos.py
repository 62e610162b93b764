"""What becomes of requests while parts of the cluster are killed, or asked far too much.

Each case starts a cluster of its own on the embedded base with the demo specialists, and asks it as
clients do, half of them for streams. `make chaos` runs all of them.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from random import Random

import httpx
from rich.console import Console

from benchmarks.cluster import Cluster, running
from benchmarks.load import Answer, Body, End, Load, ends, percentile, under_load
from benchmarks.report import Row, at_least, at_most, show, write_json
from deploy.cli.figures import Figures
from deploy.client import Client
from deploy.demos import EXAMPLES
from deploy.settings import read_settings
from registry.files import AdapterFiles
from specialists.base import EMBEDDED

ENGINE, ROUTER = "ServeReplica:myriad:engine", "ServeReplica:myriad:router"
CONTROLLER, PROXY = "ServeController", "ProxyActor"
KILL_SECONDS = 5.0
SLOWER_SECONDS = 15.0
"""For what takes longer to come back than that, and has no second one beside it."""
REQUESTS, AT_ONCE = 500, 24
SOAK_MINUTES = 10.0
ANSWER = 24
OVERLOAD, OVERLOAD_SECONDS = 10, 60.0
REFUSED_SECONDS, GOODPUT = 0.05, 0.9
SMALL_CACHE = {"MYRIAD_ENGINE__KV_MIB": "128"}
"""What was computed is kept until its room is needed: with little of it nothing grows later."""
SETTLED_SECONDS, IDLE_SECONDS = 30.0, 60.0
CHURNING = 60
"""Specialists that are asked for in turn; about a third of them fit the slots."""
CHATS, CHAT = 9, 32
"""Chats beside other programs, and the tokens of each."""


@dataclass(frozen=True)
class Asked:
    """How much the cases ask: those that kill so many requests, the soak so long."""

    requests: int
    minutes: float


console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)


def bodies(chance: Random, tokens: int = ANSWER) -> Iterator[Body]:
    """Requests to the demos and the base, without end; every second one is a stream."""
    models = ["SmolLM2-135M-Instruct", *(f"demo/{each.name}" for each in EXAMPLES.iterdir())]
    stream = False
    while True:
        stream = not stream
        asked = f"Tell me about the number {chance.randrange(10**6)}."
        yield {
            "model": chance.choice(models),
            "messages": [{"role": "user", "content": asked}],
            "max_tokens": tokens,
            "stream": stream,
        }


@contextmanager
def cluster_of(base: Path, **settings: str) -> Iterator[Cluster]:
    """A cluster with a home of its own that shares the base's weights."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "base").symlink_to(base)
        with running(Path(home), **settings) as cluster:
            yield cluster


async def killed(
    cluster: Cluster, load: Load, title: str, requests: int, seconds: float
) -> list[Answer]:
    """Requests while a random process of that kind is killed every few seconds."""
    chance = Random(17)
    endless = bodies(chance)
    asked = load.all((next(endless) for _ in range(requests)), AT_ONCE)
    kills = 0
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(asked)
        while not (await asyncio.wait([asking], timeout=seconds))[0]:
            if alive := cluster.parts(title):
                chance.choice(alive).kill()
                kills += 1
    console.print(f"  {kills} killed while {requests} were asked", style="dim")
    return asking.result()


def survived(name: str, answers: list[Answer]) -> list[Row]:
    """How the requests ended; only a stream that had begun may be broken off."""
    found = ends(answers)
    for said in {each.said for each in answers if each.end is not End.COMPLETE}:
        console.print(f"  said: {said}", style="dim", markup=False)
    unexpected = [
        each
        for each in answers
        if each.end in (End.LOST, End.REFUSED) or (each.end is End.BROKEN and not each.deltas)
    ]
    slowest = max(each.seconds for each in answers)
    return [
        Row(f"chaos.{name}.complete", found[End.COMPLETE], "requests"),
        Row(f"chaos.{name}.broken streams", found[End.BROKEN], "requests"),
        at_most(f"chaos.{name}.failed that had not begun", len(unexpected), "requests", 0),
        Row(f"chaos.{name}.slowest", slowest, "s"),
    ]


def kill_case(
    title: str, seconds: float = KILL_SECONDS, **settings: str
) -> Callable[[Path, Asked], list[Row]]:
    """The case in which processes of that kind are killed."""

    def case(base: Path, asked: Asked) -> list[Row]:
        with cluster_of(base, **settings) as cluster:
            answers = under_load(
                cluster.url, lambda load: killed(cluster, load, title, asked.requests, seconds)
            )  # fmt: skip
            name = f"kill {title.split(':')[-1]}"
            answers_again(cluster)
            for each in cluster.parts(title):
                each.kill()
            return [
                *survived(name, answers),
                Row(f"chaos.{name}.all of them: answers again after", answers_again(cluster), "s"),
            ]

    return case


def answers_again(cluster: Cluster) -> float:
    """Seconds until a request is answered, from now on."""

    async def wait(load: Load) -> float:
        began = time.perf_counter()
        body: Body = next(bodies(Random(1))) | {"stream": False, "max_tokens": 1}
        while (await load.ask(body)).end is not End.COMPLETE:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.1)
        return time.perf_counter() - began

    return under_load(cluster.url, wait)


def overload(base: Path, _asked: Asked) -> list[Row]:
    """Ten times as many requests a second as can be answered, for a minute."""
    with cluster_of(base, MYRIAD_ENGINE__MAX_WAITING="64", **SMALL_CACHE) as cluster:
        peak, best = under_load(cluster.url, _peak)
        before = cluster.memory()
        answers = under_load(cluster.url, lambda load: _flood(load, peak))
        after = cluster.memory()
    done = [each for each in answers if each.end is End.COMPLETE]
    refused = [each.seconds for each in answers if each.end is End.REFUSED]
    seconds = max(each.ended for each in answers) - min(each.began for each in answers)
    goodput = len(done) / seconds
    console.print(f"  {len(answers)} asked, {dict(ends(answers))}", style="dim", markup=False)
    return [
        Row("chaos.overload.peak", peak, "answers/s"),
        Row("chaos.overload.offered", len(answers) / OVERLOAD_SECONDS, "requests/s"),
        at_most("chaos.overload.refused, p99", percentile(refused, 0.99), "s", REFUSED_SECONDS),
        Row("chaos.overload.refused, median", statistics.median(refused), "s"),
        at_least("chaos.overload.goodput", goodput / peak, "ratio", GOODPUT),
        at_most("chaos.overload.lost", ends(answers)[End.LOST], "requests", 0),
        Row("chaos.overload.memory", (after - before) / 2**20, "MiB more"),
        Row("chaos.overload.answer, median at peak", best, "s"),
    ]


async def _peak(load: Load) -> tuple[float, float]:
    """Answers a second with every row taken, and how long one takes."""
    endless = bodies(Random(1))
    await load.all((next(endless) for _ in range(64)), 32)
    began = time.perf_counter()
    answers = await load.all((next(endless) for _ in range(192)), 32)
    took = time.perf_counter() - began
    return len(answers) / took, statistics.median(each.seconds for each in answers)


async def _flood(load: Load, peak: float) -> list[Answer]:
    end = time.perf_counter() + OVERLOAD_SECONDS
    return await load.every(
        1 / (OVERLOAD * peak), bodies(Random(2)), lambda: time.perf_counter() > end
    )


def idle(base: Path, _asked: Asked) -> list[Row]:
    """What a cluster takes that nobody asks, beyond the base's weights."""
    with cluster_of(base, MYRIAD_DEMOS="false") as cluster:
        time.sleep(SETTLED_SECONDS)
        before, began = cluster.cpu_seconds(), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        share = (cluster.cpu_seconds() - before) / (time.perf_counter() - began)
        memory = cluster.memory()
    # Other releases' may lie beside them.
    packed = max(base.glob(f"{EMBEDDED}/kernels-*.packed"), key=lambda each: each.stat().st_mtime)
    weights = packed.stat().st_size
    return [
        at_most("idle.memory beyond the weights", (memory - weights) / 1e9, "GB", 1.6),
        at_most("idle.of one core", share, "share", 0.08),
    ]


def busy(base: Path, _asked: Asked) -> list[Row]:
    """How long a chat takes beside programs that compute without end, one for each core."""
    with cluster_of(base) as cluster:
        under_load(cluster.url, _chat)
        alone = under_load(cluster.url, _chat)
        with computing(os.cpu_count() or 1):
            beside = under_load(cluster.url, _chat)
    return [
        Row("busy.chat alone, median", alone, "s"),
        Row("busy.chat beside others, median", beside, "s"),
        Row("busy.chat beside others", beside / alone, "times"),
    ]


@contextmanager
def computing(programs: int) -> Iterator[None]:
    """So many programs that leave no core alone."""
    loop = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(loop) for _ in range(programs)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


async def _chat(load: Load) -> float:
    """Median seconds of chats, one after the other."""
    endless = bodies(Random(1), CHAT)
    answers = await load.all((next(endless) for _ in range(CHATS)), 1)
    assert set(ends(answers)) == {End.COMPLETE}, ends(answers)
    return statistics.median(each.seconds for each in answers)


def soak(base: Path, asked: Asked) -> list[Row]:
    """Many adapters in few slots, asked for one after the other: does anything grow?

    Growth is that of the second half: caches and allocators take some thousand requests to fill.
    """
    half = asked.minutes * 60 / 2
    small = {"MYRIAD_ENGINE__SLOT_MIB": "16", "MYRIAD_DEMOS": "false"}
    with cluster_of(base, **small, **SMALL_CACHE) as cluster:
        names = _churning(cluster.url)
        chance = Random(5)
        warm = under_load(cluster.url, lambda load: _ask_any(load, names, chance, half))
        before, files = cluster.memory(), cluster.open_files()
        later = under_load(cluster.url, lambda load: _ask_any(load, names, chance, half))
        grown = (cluster.memory() - before) / 1e6 / (later / 1000)
        opened = cluster.open_files() - files
        engine = Figures.read(httpx.get(f"{cluster.url}/metrics", trust_env=False).text)
    held = engine.total("pages") - engine.total("pages_free")
    return [
        Row("soak.requests", warm + later, "requests"),
        Row("soak.adapters loaded", engine.total("adapter_loads_total"), "loads"),
        at_most("soak.memory", grown, "MB per 1,000 requests", 1.0),
        at_most("soak.files left open", opened, "files", 0),
        at_most("soak.rows and pages left", held + engine.total("running"), "", 0),
    ]


def _churning(url: str) -> list[str]:
    """Specialists of the same weights, each an adapter of its own to the engine."""
    folder = EXAMPLES / "salary-coach" / "adapter"
    with Client(url) as client:
        for number in range(CHURNING):
            card = {"id": f"soak/s{number}", "description": f"Number {number}."}
            files = AdapterFiles.in_folder(folder)
            client.register(card, files.config, files.weights)
    return [f"soak/s{number}" for number in range(CHURNING)]


async def _ask_any(load: Load, names: list[str], chance: Random, seconds: float) -> int:
    """Ask so long; returns how many were answered, which is all."""
    until = time.perf_counter() + seconds
    numbers = takewhile(lambda _: time.perf_counter() < until, count())
    turns = ({"role": "user", "content": f"Number {number}?"} for number in numbers)
    bodies: Iterator[Body] = (
        {"model": chance.choice(names), "messages": [turn], "max_tokens": 4} for turn in turns
    )
    answers = await load.all(bodies, 8)
    assert set(ends(answers)) == {End.COMPLETE}, ends(answers)
    return len(answers)


CASES: dict[str, Callable[[Path, Asked], list[Row]]] = {
    "engine": kill_case(ENGINE, MYRIAD_ENGINE__REPLICAS="2"),
    "router": kill_case(ROUTER, SLOWER_SECONDS, MYRIAD_ROUTER__REPLICAS="2"),
    "controller": kill_case(CONTROLLER),
    "proxy": kill_case(PROXY, SLOWER_SECONDS),
    "overload": overload,
    "idle": idle,
    "busy": busy,
    "soak": soak,
}


def main() -> None:
    """Run the cases, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="which; all by default")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of the cases that kill")
    parser.add_argument("--minutes", type=float, default=SOAK_MINUTES, help="of the soak")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    asked = Asked(arguments.requests, arguments.minutes)
    rows: list[Row] = []
    for name in arguments.cases or CASES:
        console.print(f"{name} …")
        rows += CASES[name](read_settings().home / "base", asked)
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
