"""How fast is the engine's step, against llama.cpp on the same file, PEFT, vLLM, and the limit?

Decoding is timed from the first row's arrival to the last one's end, prompts of 8 tokens included.
Rounds of all cases alternate, and every figure is a median. Peers run beside ours, one at a time,
in environments of their own (`make peers vllm`); those that are not installed are left out. The
limit is the machine's, by what it reads and computes in the same run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import psutil
import torch

from benchmarks.adapters import random_adapter
from benchmarks.limits import bandwidth, products
from benchmarks.peers import PYTHON, VLLM, Peer, peer
from benchmarks.report import Row as Figure
from benchmarks.report import alternating, at_least, at_most, show, write_json
from deploy.settings import read_settings
from registry.files import AdapterFiles
from specialists.base import GGUF, Base, locate_base
from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.loads import LocateAdapter
from specialists.engine.native.network import NativeNetwork
from specialists.engine.native.packing import BLOCK
from specialists.hardware import choose_dtype, dtype_name
from specialists.machine import cores

ROWS = 32
SETTLED_SECONDS = 1.0
"""Threads of whoever was asked before spin for a while before they sleep."""
RANKS = (8, 16)
ROOM = EngineOptions(slot_bytes=4 << 30, drafts=0)
"""Nothing is guessed: what random tokens are followed by repeats itself as no text does."""
SCALE_BYTES = 4 / BLOCK
"""Of a packed weight's scale and minimum."""
PLOT = Path(__file__).parent / "peers" / "plot.py"


@dataclass(frozen=True, slots=True)
class Case:
    """So many rows side by side, the adapters dealt out among them."""

    rows: int
    adapters: tuple[str, ...] = ()
    prompt: int = 8
    answer: int = 48

    @property
    def tokens(self) -> int:
        """What is counted: tokens of answers, or of a prompt that is hardly answered."""
        return self.rows * (self.prompt if self.answer == 1 else self.answer)


def prompt_of(row: int, tokens: int) -> list[int]:
    """A prompt that no other row has; peers make the same."""
    return [100 + (31 * row + 7 * at) % 40_000 for at in range(tokens)]


LOW, HIGH = (tuple(f"r{rank}-{number}" for number in range(ROWS)) for rank in RANKS)
COUNTS = (1, 2, 4, 8, 16, 32)
CASES = {
    "1 row": Case(1),
    "1 row, adapter": Case(1, HIGH[:1]),
    "8 rows": Case(8),
    "32 rows": Case(ROWS),
    **{f"32 rows, {count} of rank 16": Case(ROWS, HIGH[:count]) for count in COUNTS},
    "32 rows, 32 of rank 8": Case(ROWS, LOW),
    "prompt": Case(1, prompt=512, answer=1),
}
LLAMA_CPP = {name: case for name, case in CASES.items() if not case.adapters and case.rows != 8}
VLLM_BARE = {name: CASES[name] for name in ["1 row", "32 rows", "prompt"]}
VLLM_LORA = {name: CASES[name] for name in ["32 rows, 32 of rank 16"]}
PEFT = {name: CASES[name] for name in ["32 rows, 32 of rank 16"]}
RATIOS = (
    ("32 adapters to none", "32 rows, 32 of rank 16", "32 rows", 0.80),
    ("32 adapters of rank 8 to none", "32 rows, 32 of rank 8", "32 rows", 0.90),
    ("32 adapters to PEFT", "32 rows, 32 of rank 16", "PEFT, 32 rows, 32 of rank 16", 6),
    ("32 adapters to vLLM", "32 rows, 32 of rank 16", "vLLM, 32 rows, 32 of rank 16", 4),
    ("32 rows to vLLM", "32 rows", "vLLM, 32 rows", 1.1),
    ("32 rows to llama.cpp", "32 rows", "llama.cpp, 32 rows", 1.1),
    ("1 row to llama.cpp", "1 row", "llama.cpp, 1 row", 1.0),
    ("1 row with an adapter to llama.cpp without", "1 row, adapter", "llama.cpp, 1 row", 0.85),
    ("prompt to llama.cpp", "prompt", "llama.cpp, prompt", 1.0),
)


class Ours:
    """Our engine, asked in process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked = 0

    @classmethod
    def from_folder(cls, base: Base, adapters: Mapping[str, Path]) -> "Ours":
        """As a replica would have it, with these adapters at hand."""
        return cls(Engine.from_folder(base.folder, finder(adapters), ROOM))

    @property
    def never(self) -> dict[int, float]:
        """A bias against what ends answers: all have the same length."""
        return dict.fromkeys(self._engine.tokenizer.eos, -100.0)

    def seconds(self, case: Case) -> float:
        """Time that the rows take, from the first one's arrival to the last one's end."""
        emissions: list[Emission] = []
        self._asked += 1
        names = [case.adapters[row % len(case.adapters)] if case.adapters else None
                 for row in range(case.rows)]  # fmt: skip
        self._load(names)
        began = time.perf_counter()
        for number, name in enumerate(names):
            self._engine.add(self._row(number, case.prompt, case.answer, name, emissions))
        while self._engine.stats()["running"] + self._engine.stats()["waiting"]:
            self._engine.step()
        seconds = time.perf_counter() - began
        assert len(emissions) == case.rows * case.answer, emissions[-1]
        return seconds

    def _load(self, names: Iterable[str | None]) -> None:
        """Have the adapters resident: loading them is not what is measured."""
        for name in dict.fromkeys(names):
            if name is not None and name not in self._engine._slots:
                emissions: list[Emission] = []
                self._engine.add(self._row(0, 1, 1, name, emissions))
                while not emissions:
                    if not self._engine.step():
                        self._engine._loads.wait()

    def _row(
        self, number: int, prompt: int, answer: int, adapter: str | None, to: list[Emission]
    ) -> Row:
        tokens = prompt_of(number, prompt)
        bias = tuple(self.never.items())
        params = SamplingParams(answer, temperature=0.0, logit_bias=bias)
        text = self._engine.tokenizer.stream(())
        row = Row(str(number), adapter, tokens, prompt, params, text, to.append, Random(number))
        # Whoever asks anew finds nothing of what was computed before.
        row.tenant = str(self._asked)
        return row

    def limit(self, case: Case, read: float, computed: float) -> float:
        """Tokens per second that the machine allows: it reads and computes at once.

        Args:
            case: what is computed.
            read: bytes that the machine reads in a second.
            computed: products that it computes in a second.
        """
        network = self._engine._network
        assert isinstance(network, NativeNetwork)
        linears = [linear for layer in network._layers for linear in layer.linears]
        if case.answer > 1:
            linears.append(network.head)  # computed for one token of a prompt
        weights = sum(int(each.outs * each.ins) for each in linears)
        stored = sum(each.outs * each.ins * (each.bits / 8 + SCALE_BYTES) for each in linears)
        adapters = sum(self._engine._slots[name].nbytes for name in set(case.adapters))
        reading = case.answer * (stored + adapters) / read
        # A row goes through the weights and one adapter, whose products are as many as its bytes.
        each = weights + (adapters / len(case.adapters) if case.adapters else 0)
        return float(case.tokens / max(reading, case.tokens * each / computed))


def finder(adapters: Mapping[str, Path]) -> LocateAdapter:
    """Finds adapters in their folders, by name."""

    def locate(name: str) -> AdapterFiles:
        return AdapterFiles.in_folder(adapters[name])

    return locate


Opened = tuple[str, Mapping[str, Case], Peer | None]
"""A peer by its name, the cases that it is asked for, and how; None if it is not installed."""


def measure(ours: Ours, peers: Iterable[Opened], rounds: int) -> dict[str, float]:
    """Median tokens/s by case."""
    asked = {name: partial(_speed, ours.seconds, case) for name, case in CASES.items()}
    for who, cases, answer in peers:
        if answer is not None:
            seconds = partial(_seconds, answer)
            asked |= {
                f"{who}, {name}": partial(_speed, seconds, case) for name, case in cases.items()
            }
    return alternating(asked, rounds)


def _speed(seconds: Callable[[Case], float], case: Case) -> float:
    """Of whoever has just answered in brief: what it reads is where it is when there is traffic."""
    time.sleep(SETTLED_SECONDS)
    seconds(replace(case, answer=min(case.answer, 2)))
    return case.tokens / seconds(case)


def _seconds(answer: Peer, case: Case) -> float:
    """What a peer took for a case, or for its prompt where that is what counts."""
    times = answer(case.rows, case.prompt, case.answer)
    return times["prompt_seconds" if case.answer == 1 else "seconds"]


def figures(
    medians: Mapping[str, float], limits: Mapping[str, float], resident: float
) -> list[Figure]:
    """What was promised, and what was seen."""
    rows = [Figure(f"engine.{name}", value, "tokens/s") for name, value in medians.items()]
    rows += [Figure(f"engine.limit.{name}", value, "tokens/s") for name, value in limits.items()]
    rows += [
        at_least(f"engine.ratio.{name}", medians[ours] / medians[theirs], "ratio", target)
        for name, ours, theirs, target in RATIOS
        if theirs in medians
    ]
    return [*rows, at_most("engine.resident", resident, "MB", 600)]


def draw(medians: Mapping[str, float], limits: Mapping[str, float], file: Path) -> None:
    """Throughput of 32 rows against the number of distinct adapters among them, as a PNG."""
    names = {count: f"32 rows, {count} of rank 16" for count in COUNTS}
    lines = [
        _line("Myriad", {count: medians[name] for count, name in names.items()}),
        _line("machine's limit", {count: limits[name] for count, name in names.items()}, True),
        _line("Myriad without adapters", dict.fromkeys(COUNTS, medians["32 rows"]), True),
    ]
    if "llama.cpp, 32 rows" in medians:
        theirs = dict.fromkeys(COUNTS, medians["llama.cpp, 32 rows"])
        lines.append(_line("llama.cpp without adapters", theirs, True))
    lines += [
        _line(f"{who}, mixed batch", {32: medians[f"{who}, {names[32]}"]})
        for who in ("PEFT", "vLLM")
        if f"{who}, {names[32]}" in medians
    ]
    chart = {"title": "32 rows, adapters of rank 16 over all linears", "lines": lines}
    chart |= {"x": "distinct adapters", "y": "tokens/s"}
    subprocess.run([PYTHON, PLOT, file], input=json.dumps(chart), text=True, check=True)


def _line(name: str, points: Mapping[int, float], dashed: bool = False) -> dict[str, object]:
    return {"name": name, "points": list(points.items()), "dashed": dashed}


def run(base: Base, rounds: int, plot: Path | None) -> list[Figure]:
    """Measure all cases, and draw what was asked for."""
    read, computed = bandwidth(), products()
    with tempfile.TemporaryDirectory() as scratch:
        adapters = {
            f"r{rank}-{number}": random_adapter(
                base, Path(scratch, f"{rank}-{number}"), rank, number
            )
            for rank in RANKS
            for number in range(ROWS)
        }
        ours = Ours.from_folder(base, adapters)
        resident = psutil.Process().memory_info().rss / 1e6
        high = [adapters[name] for name in HIGH]
        dtype = dtype_name(choose_dtype("auto", torch.device("cpu")))
        with (
            peer(PYTHON, "llama_cpp.py", base.folder / GGUF, cores(), ROWS) as llama_cpp,
            peer(sys.executable, "peft_batch.py", base.folder, cores(), *high) as peft,
            peer(VLLM, "vllm_cpu.py", base.folder, dtype, cores()) as vllm,
            peer(VLLM, "vllm_cpu.py", base.folder, dtype, cores(), *high) as vllm_lora,
        ):
            peers: list[Opened] = [
                ("llama.cpp", LLAMA_CPP, llama_cpp),
                ("PEFT", PEFT, peft),
                ("vLLM", VLLM_BARE, vllm),
                ("vLLM", VLLM_LORA, vllm_lora),
            ]
            medians = measure(ours, peers, rounds)
        limits = {name: ours.limit(case, read, computed) for name, case in CASES.items()}
    if plot is not None:
        draw(medians, limits, plot)
    return [
        Figure("engine.machine.read", read / 1e9, "GB/s"),
        Figure("engine.machine.products", computed / 1e9, "10⁹/s"),
        *figures(medians, limits, resident),
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--plot", type=Path, help="draw throughput against adapters (PNG)")
    arguments = parser.parse_args()
    settings = read_settings()
    rows = run(locate_base(settings.base, settings.home), arguments.rounds, arguments.plot)
    show(rows)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
