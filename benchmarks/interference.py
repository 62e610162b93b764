"""What others notice: of a cold adapter, of a long prompt, of a tenant that floods the engine.

One engine in process, on the base of the settings, with adapters of random weights. Gaps are those
between an answer's tokens, as the engine emits them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from benchmarks.adapters import random_adapter
from benchmarks.load import percentile
from benchmarks.report import Row as Figure
from benchmarks.report import at_most, show, write_json
from deploy.settings import read_settings
from registry.files import AdapterFiles
from specialists.base import Base, locate_base
from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.reading import Part

STREAMS, ANSWER = 16, 96
PROMPT, SYSTEM = 1500, 500
FLOOD, FLOOD_ANSWER = 200, 64
LIGHT_PROMPT, LIGHT_ANSWER = 64, 32
RANK = 16


@dataclass
class Answer:
    """One answer, and when its tokens came."""

    began: float = field(default_factory=time.perf_counter)
    times: list[float] = field(default_factory=list)
    ended: bool = False

    def take(self, emission: Emission) -> None:
        """Note a token."""
        self.times.append(time.perf_counter())
        self.ended = emission.finish is not None or emission.error is not None

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.times[0] - self.began

    @property
    def seconds(self) -> float:
        """Seconds to the last token."""
        return self.times[-1] - self.began

    def gaps(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Seconds between tokens in that time."""
        pairs = zip(self.times, self.times[1:], strict=False)
        return [after - before for before, after in pairs if since <= after <= until]


class Bench:
    """An engine to ask."""

    def __init__(self, base: Base, adapters: dict[str, Path]) -> None:
        options = EngineOptions(kv_bytes=1 << 30, slot_bytes=1 << 30)
        self._engine = Engine.from_folder(
            base.folder, lambda name: AdapterFiles.in_folder(adapters[name]), options
        )
        self._numbers = count()
        self._never = tuple((token, -100.0) for token in self._engine.tokenizer.eos)

    def ask(
        self,
        prompt: list[int],
        tokens: int,
        adapter: str | None = None,
        tenant: str | None = None,
    ) -> Answer:
        """Add a row."""
        answer, number = Answer(), next(self._numbers)
        params = SamplingParams(tokens, temperature=0.0, logit_bias=self._never)
        text = self._engine.tokenizer.stream(())
        row = Row(
            str(number), adapter, prompt, len(prompt), params, text, answer.take, Random(number)
        )
        row.tenant = tenant
        self._engine.add(row)
        return answer

    @property
    def costs(self) -> tuple[float, float, float, float]:
        """Seconds of a step, of each row in it, of a load, and of a prompt's token, as measured."""
        pace = self._engine._pace
        prompt = pace._reading.seconds([Part(1)]) if pace._reading is not None else 0.0
        return (*pace.step_seconds, pace.load_seconds, prompt)

    def fresh(self, tokens: int) -> list[int]:
        """A prompt that nobody had before."""
        chance = Random(next(self._numbers))
        return [chance.randrange(100, 40_000) for _ in range(tokens)]

    def step(self, until: Callable[[], bool]) -> None:
        """Step until it is enough."""
        while not until():
            if not self._engine.step():
                self._engine._loads.wait()

    def finish(self, *answers: Answer) -> None:
        """Step until all of these have ended."""
        self.step(lambda: all(each.ended for each in answers))

    def streams(self) -> list[Answer]:
        """Sixteen answers that are under way."""
        made = [self.ask(self.fresh(32), ANSWER) for _ in range(STREAMS)]
        self.step(lambda: all(each.times for each in made))
        return made


def beside(bench: Bench, prompt: list[int], adapter: str | None = None) -> tuple[float, ...]:
    """First token of a request beside sixteen streams; their usual gap, and its p99 and most."""
    streams = bench.streams()
    bench.step(lambda: min(len(each.times) for each in streams) > ANSWER // 4)
    usual = [gap for each in streams for gap in each.gaps()]
    asked = bench.ask(prompt, 1, adapter)
    bench.finish(asked)
    now = time.perf_counter()
    gaps = [gap for each in streams for gap in each.gaps(asked.began, now)]
    bench.finish(*streams)
    usual_p99 = percentile(usual, 0.99)
    return asked.first, statistics.median(usual), usual_p99, percentile(gaps, 0.99), max(gaps)


def cold_adapter(bench: Bench, names: Iterator[str]) -> Iterator[Figure]:
    """An adapter that is not resident, against one that is."""
    warm = next(names)
    prepared = bench.ask(bench.fresh(8), 1, warm)
    bench.finish(prepared)
    rounds = [
        (beside(bench, bench.fresh(32), warm), beside(bench, bench.fresh(32), next(names)))
        for _ in range(5)
    ]
    grown = [(cold[4] - warm_[4]) / cold[1] for warm_, cold in rounds]
    later = [1000 * (cold[0] - warm_[0]) for warm_, cold in rounds]
    yield at_most("cold adapter.longest gap grows by", statistics.median(grown), "steps", 1)
    yield at_most("cold adapter.first token later", statistics.median(later), "ms", 60)


def long_prompt(bench: Bench) -> Iterator[Figure]:
    """1,500 tokens of a prompt."""
    rounds = [beside(bench, bench.fresh(PROMPT)) for _ in range(3)]
    alone = bench.ask(bench.fresh(PROMPT), 1)
    bench.finish(alone)
    ratio = statistics.median(each[3] / each[2] for each in rounds)
    yield at_most("long prompt.others' gap, p99", ratio, "times", 2)
    yield Figure("long prompt.first token", statistics.median(each[0] for each in rounds), "s")
    yield Figure("long prompt.first token alone", alone.first, "s")


def prefix(bench: Bench) -> Iterator[Figure]:
    """A system prompt of 500 tokens that two requests share."""
    shares = []
    for _ in range(5):
        system, firsts = bench.fresh(SYSTEM), []
        for _ in range(2):
            asked = bench.ask([*system, *bench.fresh(8)], 1)
            bench.finish(asked)
            firsts.append(asked.first)
        shares.append(firsts[1] / firsts[0])
    yield at_most("shared prefix.second prefill", statistics.median(shares), "share", 0.1)


def flood(bench: Bench) -> Iterator[Figure]:
    """A tenant with 200 requests at once beside one that asks one after the other."""

    def light() -> Answer:
        asked = bench.ask(bench.fresh(LIGHT_PROMPT), LIGHT_ANSWER, tenant="light")
        bench.finish(asked)
        return asked

    solo = [light() for _ in range(20)]
    many = [bench.ask(bench.fresh(64), FLOOD_ANSWER, tenant="flood") for _ in range(FLOOD)]
    among: list[Answer] = []
    while not all(each.times for each in many[FLOOD // 2 :]) and len(among) < 60:
        among.append(light())
    flooding = sum(len(each.times) for each in many) / sum(each.seconds for each in among)
    bench.finish(*many)

    def p99(answers: list[Answer]) -> float:
        return percentile([each.seconds for each in answers], 0.99)

    def gap(answers: list[Answer]) -> float:
        return percentile([gap for each in answers for gap in each.gaps()], 0.99)

    yield at_most("flood.light tenant's answer, p99", p99(among) / p99(solo), "times", 2)
    yield Figure("flood.light tenant's gap, p99", gap(among) / gap(solo), "times")
    yield Figure("flood.flooding tenant meanwhile", flooding, "tokens/s")


def run(base: Base) -> list[Figure]:
    """All cases."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [f"a{number}" for number in range(8)]
        adapters = {
            name: random_adapter(base, Path(scratch, name), RANK, at)
            for at, name in enumerate(names)
        }
        bench = Bench(base, adapters)
        for _ in range(2):
            bench.finish(*bench.streams())
        cases = cold_adapter(bench, iter(names)), long_prompt(bench), prefix(bench), flood(bench)
        return [figure for case in cases for figure in case]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    rows = run(locate_base(settings.base, settings.home))
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
