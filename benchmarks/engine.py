"""How fast is the engine's step, against llama.cpp on the same file, PEFT, and the machine's limit?

Decoding is timed from the first row's arrival to the last one's end, prompts of 8 tokens included.
Rounds of all cases alternate, and every figure is a median. Peers run beside ours, one at a time,
in environments of their own (`make peers`); those that are not installed are left out.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random

import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import save_file
from transformers import AutoConfig

from benchmarks.report import Row as Figure
from benchmarks.report import at_least, at_most, write_json
from deploy.settings import read_settings
from registry.files import CONFIG, WEIGHTS, AdapterFiles
from specialists.base import GGUF, Base, locate_base
from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.engine.lora import GROUPS
from specialists.hardware import cores

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
PROMPT, ANSWER, LONG_PROMPT = 8, 48, 512
ROWS = 32
RANKS = (8, 16)
ROOM = EngineOptions(slot_bytes=4 << 30)
RATIOS = (
    ("32 adapters to none", "32 rows, 32 adapters", "32 rows", 0.80),
    ("32 adapters of rank 8 to none", "32 rows, 32 of rank 8", "32 rows", 0.90),
    ("32 rows to llama.cpp", "32 rows", "llama.cpp, 32 rows", 1.1),
    ("1 row to llama.cpp", "1 row", "llama.cpp, 1 row", 1.0),
    ("1 row with an adapter to llama.cpp without", "1 row, adapter", "llama.cpp, 1 row", 0.85),
    ("prompt to llama.cpp", "prompt", "llama.cpp, prompt", 1.0),
)
Peer = Callable[[int, int, int], dict[str, float]]


class Ours:
    """Our engine, with adapters of two ranks at hand."""

    def __init__(self, base: Base, adapters: dict[str, Path]) -> None:
        self._engine = Engine.from_folder(
            base.folder, lambda name: AdapterFiles.in_folder(adapters[name]), ROOM
        )

    def seconds(
        self, rows: int, prompt: int, answer: int, adapters: list[str] | None = None
    ) -> float:
        """Time for so many rows of so many tokens, the adapters dealt out among them."""
        emissions: list[Emission] = []
        names = [adapters[row % len(adapters)] if adapters else None for row in range(rows)]
        self._load(names)
        began = time.perf_counter()
        for number, name in enumerate(names):
            self._engine.add(self._row(number, prompt, answer, name, emissions))
        while self._engine.stats()["running"] + self._engine.stats()["waiting"]:
            self._engine.step()
        seconds = time.perf_counter() - began
        assert len(emissions) == rows * answer, emissions[-1]
        return seconds

    def _load(self, names: list[str | None]) -> None:
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
        tokens = [100 + (31 * number + 7 * at) % 40_000 for at in range(prompt)]
        # A bias against what ends answers: all have the same length.
        never = tuple((token, -100.0) for token in self._engine.tokenizer.eos)
        params = SamplingParams(answer, temperature=0.0, logit_bias=never)
        text = self._engine.tokenizer.stream(())
        return Row(str(number), adapter, tokens, prompt, params, text, to.append, Random(number))


@contextmanager
def llama_cpp(file: Path) -> Iterator[Peer]:
    """llama.cpp on the same file; called like `Ours.seconds`."""
    script = Path(__file__).parent / "peers" / "llama_cpp.py"
    process = subprocess.Popen(
        [PEER, script, file, str(cores()), str(ROWS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    stdout.readline()

    def measure(rows: int, prompt: int, answer: int) -> dict[str, float]:
        stdin.write(json.dumps({"rows": rows, "prompt": prompt, "answer": answer}) + "\n")
        stdin.flush()
        found: dict[str, float] = json.loads(stdout.readline())
        return found

    try:
        yield measure
    finally:
        stdin.close()
        process.wait()


def random_adapter(base: Base, folder: Path, rank: int, seed: int) -> Path:
    """A PEFT folder of random weights over all linears, too small to change what is answered."""
    config = AutoConfig.from_pretrained(base.folder)
    hidden, inner = config.hidden_size, config.intermediate_size
    head = config.head_dim or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    shapes = [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for layer in range(config.num_hidden_layers):
        modules = (module for group in GROUPS.values() for module in group)
        for module, (ins, outs) in zip(modules, shapes, strict=True):
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            a = torch.randn(rank, ins, generator=generator) / ins**0.5
            b = torch.randn(outs, rank, generator=generator) / 1000
            tensors |= {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": rank}))
    return folder


def measure(ours: Ours, peer: Peer | None, rounds: int) -> dict[str, float]:
    """Medians by case: tokens/s, of answers or of prompts."""
    low, high = ([f"r{rank}-{number}" for number in range(ROWS)] for rank in RANKS)
    cases: dict[str, Callable[[], float]] = {
        "1 row": lambda: ANSWER / ours.seconds(1, PROMPT, ANSWER),
        "1 row, adapter": lambda: ANSWER / ours.seconds(1, PROMPT, ANSWER, high),
        "8 rows": lambda: 8 * ANSWER / ours.seconds(8, PROMPT, ANSWER),
        "32 rows": lambda: ROWS * ANSWER / ours.seconds(ROWS, PROMPT, ANSWER),
        "32 rows, 1 adapter": lambda: ROWS * ANSWER / ours.seconds(ROWS, PROMPT, ANSWER, high[:1]),
        "32 rows, 8 adapters": lambda: ROWS * ANSWER / ours.seconds(ROWS, PROMPT, ANSWER, high[:8]),
        "32 rows, 32 adapters": lambda: ROWS * ANSWER / ours.seconds(ROWS, PROMPT, ANSWER, high),
        "32 rows, 32 of rank 8": lambda: ROWS * ANSWER / ours.seconds(ROWS, PROMPT, ANSWER, low),
        "prompt": lambda: LONG_PROMPT / ours.seconds(1, LONG_PROMPT, 1),
    }
    if peer is not None:
        cases |= {
            "llama.cpp, 1 row": lambda: ANSWER / peer(1, PROMPT, ANSWER)["seconds"],
            "llama.cpp, 32 rows": lambda: ROWS * ANSWER / peer(ROWS, PROMPT, ANSWER)["seconds"],
            "llama.cpp, prompt": lambda: LONG_PROMPT / peer(1, LONG_PROMPT, 1)["prompt_seconds"],
        }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in track(range(rounds), "Measuring", console=Console(stderr=True)):
        for name, case in cases.items():
            found[name].append(case())
    return {name: statistics.median(values) for name, values in found.items()}


def figures(medians: dict[str, float], resident: float) -> list[Figure]:
    """What was promised, and what was seen."""
    rows = [Figure(f"engine.{name}", value, "tokens/s") for name, value in medians.items()]
    rows += [
        at_least(f"engine.ratio.{name}", medians[ours] / medians[theirs], "ratio", target)
        for name, ours, theirs, target in RATIOS
        if theirs in medians
    ]
    return [*rows, at_most("engine.resident", resident, "MB", 600)]


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    with tempfile.TemporaryDirectory() as scratch:
        adapters = {
            f"r{rank}-{number}": random_adapter(
                base, Path(scratch, f"{rank}-{number}"), rank, number
            )
            for rank in RANKS
            for number in range(ROWS)
        }
        ours = Ours(base, adapters)
        resident = psutil.Process().memory_info().rss / 1e6
        with llama_cpp(base.folder / GGUF) if PEER.exists() else nullcontext() as peer:
            medians = measure(ours, peer, arguments.rounds)
    rows = figures(medians, resident)
    table = Table("what", "value", "", "target")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g} {'met' if row.met else 'MISSED'}"
        table.add_row(row.name, f"{row.value:.2f}", row.unit, target)
    Console().print(table)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
