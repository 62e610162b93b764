"""Which way of sending requests to many engines is best? A simulation of up to 512, event by event.

A million specialists are asked for by a power law. An engine computes its rows in steps whose time
grows with them, loads one adapter after the other beside them, and evicts the least recently used;
what each of these takes is measured on this machine first, with the real engine. Routers know of an
engine what it told them with its last answer, and once a second what it reported. The code that
decides is that of the cluster (`deploy.affinity`); beside it stand four others.
"""

import argparse
import heapq
import itertools
import math
import sys
import tempfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.adapters import random_adapter
from benchmarks.interference import RANK, Bench
from benchmarks.load import percentile
from benchmarks.report import Row as Figure
from benchmarks.report import show, write_json
from deploy.affinity import Affinity
from deploy.settings import read_settings
from specialists.base import locate_base
from specialists.engine.report import Report, marks

SPECIALISTS = 1_000_000
ENGINES = (8, 64, 512)
ROWS, ANSWER, PROMPT = 32, 64, 64
SLOTS = 219
"""Adapters of rank 16 of the embedded base in 1 GiB."""
LOAD = 0.8
"""Of what the engines can compute, that is asked for."""
EXPONENT = 1.0
ROUTERS = 4
REPORTS = 1.0
REQUESTS_EACH = 400
"""Requests for each engine; the first half fills the slots, the second is counted."""
BOUND = 1.25
"""Of the mean load, that consistent hashing lets an engine have."""

console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)


@dataclass(frozen=True)
class Costs:
    """What an engine takes, in seconds: a step, each row in it, a load, a token of a prompt."""

    step: float = 0.0026
    row: float = 0.0014
    load: float = 0.12
    prompt: float = 0.001

    @property
    def rate(self) -> float:
        """Requests a second of an engine with all its rows taken."""
        return ROWS / (ANSWER * (self.step + self.row * ROWS) + PROMPT * self.prompt * ROWS)


@dataclass(slots=True)
class Asked:
    """One request."""

    at: float
    adapter: str
    tokens: float
    router: int
    first: float = math.nan
    ended: float = math.nan
    hit: bool = True

    @property
    def seconds(self) -> float:
        """Until the whole answer was there."""
        return self.ended - self.at


@dataclass
class Engine:
    """One engine: rows that share its steps, a queue, slots and a loader."""

    costs: Costs
    running: list[tuple[float, int, Asked]] = field(default_factory=list)
    waiting: deque[Asked] = field(default_factory=deque)
    resident: OrderedDict[str, int] = field(default_factory=OrderedDict)
    loading: dict[str, float] = field(default_factory=dict)
    free: float = 0.0
    progress: float = 0.0
    """Tokens that each row has had since the beginning."""
    updated: float = 0.0
    loads: int = 0
    version: int = 0

    @property
    def open(self) -> int:
        """Requests that are here."""
        return len(self.running) + len(self.waiting)

    def advance(self, now: float) -> None:
        """Let the rows go on until now."""
        self.progress += (now - self.updated) / self._token()
        self.updated = now

    def next_end(self) -> float:
        """When the first row ends, if nothing else happens."""
        if not self.running:
            return math.inf
        return self.updated + max(self.running[0][0] - self.progress, 0.0) * self._token()

    def admit(self, now: float, number: Callable[[], int]) -> None:
        """Take in whoever waits, has an adapter, and finds a place."""
        passed: deque[Asked] = deque()
        while self.waiting and len(self.running) < ROWS:
            asked = self.waiting.popleft()
            if asked.adapter not in self.resident:
                passed.append(asked)
                continue
            self.resident[asked.adapter] += 1
            self.resident.move_to_end(asked.adapter)
            prompt = PROMPT * self.costs.prompt
            asked.first = now + prompt - asked.at
            work = asked.tokens + prompt / self._token()
            heapq.heappush(self.running, (self.progress + work, number(), asked))
        self.waiting.extendleft(reversed(passed))

    def load(self, adapter: str, now: float) -> float | None:
        """Begin to load an adapter; when it is there, or None if it is or will be already."""
        if adapter in self.resident or adapter in self.loading:
            return None
        self.loads += 1
        self.free = max(self.free, now) + self.costs.load
        self.loading[adapter] = self.free
        return self.free

    def loaded(self, adapter: str) -> None:
        """Make it resident in the place of the one that was used longest ago, if there is none."""
        del self.loading[adapter]
        if len(self.resident) >= SLOTS:
            idle = next((name for name, pins in self.resident.items() if not pins), None)
            if idle is not None:
                del self.resident[idle]
        self.resident[adapter] = 0

    def report(self) -> Report:
        """What it tells the routers."""
        return Report(
            rows=self.open, capacity=ROWS, step=self.costs.step, row=self.costs.row,
            load=self.costs.load, answer=float(ANSWER), full=len(self.resident) >= SLOTS,
            resident=marks(self.resident),
        )  # fmt: skip

    def _token(self) -> float:
        return self.costs.step + self.costs.row * max(len(self.running), 1)


@dataclass
class Sight:
    """What a router knows when it decides: rows of each engine, and what time it is."""

    known: dict[str, int]
    now: float = 0.0


class Way:
    """A way of choosing among engines."""

    def __init__(self, names: list[str], chance: Random) -> None:
        """Choose among these."""
        self.names = names
        self.chance = chance

    def choose(self, _adapter: str, _sight: Sight) -> str:
        """The engine: any, at random."""
        return self.chance.choice(self.names)

    def told(self, _reports: Mapping[str, Report]) -> None:
        """Take in what the engines report."""


class LessLoaded(Way):
    """The one with fewer requests, of two at random: what Ray Serve does by default."""

    def choose(self, _adapter: str, sight: Sight) -> str:
        """The engine."""
        return min(self.chance.sample(self.names, 2), key=sight.known.__getitem__)


class Named(Way):
    """Always the same one for an adapter, by its name."""

    def choose(self, adapter: str, _sight: Sight) -> str:
        """The engine."""
        return self.names[_number(adapter) % len(self.names)]


class Ring(Way):
    """Consistent hashing with bounded loads (Mirrokni and others, 2018)."""

    def __init__(self, names: list[str], chance: Random) -> None:
        super().__init__(names, chance)
        points = ((_number(f"{name}/{at}"), name) for name in names for at in range(50))
        self._points = sorted(points)
        self._at = np.array([point for point, _ in self._points], np.uint64)

    def choose(self, adapter: str, sight: Sight) -> str:
        """The engine."""
        known = sight.known
        bound = math.ceil(BOUND * (sum(known.values()) + 1) / len(self.names))
        begin = int(np.searchsorted(self._at, np.uint64(_number(adapter))))
        for step in range(len(self._points)):
            name = self._points[(begin + step) % len(self._points)][1]
            if known[name] < bound:
                return name
        return self.names[0]


class Ours(Way):
    """The cluster's own."""

    def __init__(self, names: list[str], chance: Random) -> None:
        super().__init__(names, chance)
        self._now = 0.0
        self._affinity = Affinity(clock=lambda: self._now)
        self._affinity.update(dict.fromkeys(names))

    def choose(self, adapter: str, sight: Sight) -> str:
        """The engine."""
        self._now = sight.now
        chosen = self._affinity.ranked(adapter, sight.known.__getitem__)[0]
        self._affinity.sent(adapter, chosen)
        return chosen

    def told(self, reports: Mapping[str, Report]) -> None:
        """Take in what the engines report."""
        self._affinity.update(reports)


WAYS: dict[str, Callable[[list[str], Random], Way]] = {
    "random": Way,
    "less loaded of two": LessLoaded,
    "by name": Named,
    "consistent hashing": Ring,
    "ours": Ours,
}


@dataclass
class Outcome:
    """What came of one simulation."""

    answered: list[Asked]
    seconds: float

    @property
    def hits(self) -> float:
        """Share of requests whose adapter was there."""
        return sum(each.hit for each in self.answered) / len(self.answered)

    @property
    def answer(self) -> float:
        """Seconds of an answer."""
        return sum(each.seconds for each in self.answered) / len(self.answered)

    @property
    def slowest(self) -> float:
        """Seconds that 99 in 100 answers do not exceed."""
        return percentile([each.seconds for each in self.answered], 0.99)

    def first(self, share: float) -> float:
        """Seconds to the first token that so large a share does not exceed."""
        return percentile([each.first for each in self.answered], share)


class Simulation:
    """Engines, routers, and what happens to them one event after the other."""

    def __init__(self, count: int, way: str, costs: Costs, seed: int = 1) -> None:
        self._chance = Random(seed)
        self._names = [f"engine-{number}" for number in range(count)]
        self._engines = {name: Engine(costs) for name in self._names}
        self._ways = [WAYS[way](self._names, Random(seed + at)) for at in range(ROUTERS)]
        self._sights = [Sight(dict.fromkeys(self._names, 0)) for _ in range(ROUTERS)]
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._answered: list[Asked] = []
        self._requests = count * REQUESTS_EACH
        self._rate = LOAD * count * costs.rate

    def run(self) -> Outcome:
        """Simulate all requests; those of the second half are counted."""
        self._at(0.0, self._report)
        now = 0.0
        popularity = _popularity(self._requests, self._chance)
        for adapter in popularity:
            now += self._chance.expovariate(self._rate)
            tokens = min(max(self._chance.expovariate(1 / ANSWER), 1.0), 8.0 * ANSWER)
            asked = Asked(now, adapter, tokens, self._chance.randrange(ROUTERS))
            self._at(now, partial(self._arrive, asked))
        end = now
        while self._events and len(self._answered) < self._requests:
            now, _, event = heapq.heappop(self._events)
            event(now)
        counted = [each for each in self._answered if each.at > end / 2]
        return Outcome(counted, end / 2)

    def _at(self, time: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), event))

    def _report(self, now: float) -> None:
        reports = {name: engine.report() for name, engine in self._engines.items()}
        for way in self._ways:
            way.told(reports)
        self._at(now + REPORTS, self._report)

    def _arrive(self, asked: Asked, now: float) -> None:
        sight = self._sights[asked.router]
        sight.now = now
        name = self._ways[asked.router].choose(asked.adapter, sight)
        engine = self._engines[name]
        asked.hit = asked.adapter in engine.resident
        engine.advance(now)
        engine.waiting.append(asked)
        sight.known[name] = engine.open
        if (there := engine.load(asked.adapter, now)) is not None:
            self._at(there, partial(self._loaded, name, asked.adapter))
        self._go_on(name, now)

    def _loaded(self, name: str, adapter: str, now: float) -> None:
        engine = self._engines[name]
        engine.advance(now)
        engine.loaded(adapter)
        self._go_on(name, now)

    def _go_on(self, name: str, now: float) -> None:
        """Take in whoever can be, and look again when the next row ends."""
        engine = self._engines[name]
        engine.admit(now, lambda: next(self._numbers))
        for asked in engine.waiting:
            # Evicted between its load and its turn.
            if (there := engine.load(asked.adapter, now)) is not None:
                self._at(there, partial(self._loaded, name, asked.adapter))
        engine.version += 1
        end = engine.next_end()
        if end < math.inf:
            self._at(end, partial(self._end, name, engine.version))

    def _end(self, name: str, version: int, now: float) -> None:
        engine = self._engines[name]
        if version != engine.version:
            return
        engine.advance(now)
        _, _, asked = heapq.heappop(engine.running)
        engine.resident[asked.adapter] -= 1
        asked.ended = now
        self._answered.append(asked)
        known = self._sights[asked.router].known
        known[name] = max(known[name] - 1, 0)
        self._go_on(name, now)


def _popularity(count: int, chance: Random) -> Iterator[str]:
    """Adapters that are asked for: the n-th most popular in proportion to n ** -EXPONENT."""
    weights = np.arange(1, SPECIALISTS + 1, dtype=np.float64) ** -EXPONENT
    total = np.cumsum(weights)
    drawn = np.random.default_rng(chance.getrandbits(32)).random(count) * total[-1]
    for rank in np.searchsorted(total, drawn):
        yield _digest(int(rank))


@cache
def _digest(rank: int) -> str:
    return "sha256:" + sha256(str(rank).encode()).hexdigest()


@cache
def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")


def measured() -> Costs:
    """What steps, loads and prompts take here, by the engine's own account."""
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    with tempfile.TemporaryDirectory() as scratch:
        adapters = {
            str(at): random_adapter(base, Path(scratch, str(at)), RANK, at) for at in range(20)
        }
        bench = Bench(base, adapters)
        for rows in (1, 2, 4, 8, 16, 32):
            answers = [bench.ask(bench.fresh(PROMPT), 48) for _ in range(rows)]
            bench.finish(*answers)
        streams = bench.streams()
        for name in adapters:
            cold = bench.ask(bench.fresh(8), 1, name)
            bench.finish(cold)
        bench.finish(*streams)
        step, row, load, prompt = bench.costs
        return Costs(step, row, load, prompt)


def figures(costs: Costs, sizes: tuple[int, ...]) -> Iterator[Figure]:
    """Every way with every number of engines."""
    for count in sizes:
        for way in track(WAYS, f"{count} engines", console=console):
            outcome = Simulation(count, way, costs).run()
            name = f"simulation.{count} engines.{way}"
            yield Figure(f"{name}.hits", outcome.hits, "share")
            yield Figure(f"{name}.first token, p99", outcome.first(0.99), "s")
            yield Figure(f"{name}.answer, mean", outcome.answer, "s")
            yield Figure(f"{name}.answer, p99", outcome.slowest, "s")


def main() -> None:
    """Measure, simulate, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, nargs="+", default=ENGINES)
    parser.add_argument(
        "--costs", type=float, nargs=4, metavar=("STEP", "ROW", "LOAD", "PROMPT"),
        help="seconds, in place of what is measured here",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    costs = Costs(*arguments.costs) if arguments.costs else measured()
    console.print(f"{costs}, {costs.rate:.1f} requests a second of an engine")
    rows = list(figures(costs, tuple(arguments.engines)))
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
