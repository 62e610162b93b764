"""How fast is it told how likely given texts are? As tools ask that compare answers by likelihood.

Many prompts at once, each with the log probabilities of its tokens, against vLLM beside it, where
`make vllm` has installed it, and against reading the same prompts without being told. vLLM is asked
with LoRA off: with it on, vLLM 0.32 dies of several such prompts.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import torch

from benchmarks.adapters import random_adapter
from benchmarks.engine import finder, prompt_of
from benchmarks.peers import VLLM, Peer, peer
from benchmarks.report import Row as Figure
from benchmarks.report import alternating, at_least, command
from specialists.base import Base
from specialists.engine.core import Emission, Row, SamplingParams
from specialists.engine.engine import Engine, EngineOptions
from specialists.hardware import choose_dtype, dtype_name
from specialists.machine import cores

ROWS, TOKENS, RANK = 16, 256, 16
ALTERNATIVES = 1
"""Likeliest tokens that are told of beside each, as tools want them to know what is greedy."""
WANTED = {"told to read": 0.5, "told to vLLM": 1.0, "16 adapters to none": 0.8}


@dataclass(frozen=True)
class Ours:
    """Our engine, asked in process, with some adapters."""

    engine: Engine
    adapters: tuple[str, ...]

    def rate(self, *, adapted: bool, told: bool) -> float:
        """Tokens of prompts a second."""
        emissions: list[Emission] = []
        names = self.adapters if adapted else (None,) * ROWS
        began = time.perf_counter()
        for number, name in enumerate(names):
            self.engine.add(self._row(number, name, told, emissions))
        while self.engine.stats()["running"] + self.engine.stats()["waiting"]:
            if not self.engine.step():
                self.engine._loads.wait()
        seconds = time.perf_counter() - began
        assert len(emissions) == ROWS * (TOKENS if told else 1)
        return ROWS * TOKENS / seconds

    def _row(self, number: int, adapter: str | None, told: bool, to: list[Emission]) -> Row:
        tokens, asked = prompt_of(number, TOKENS), ALTERNATIVES if told else None
        params = SamplingParams(1, temperature=0.0, logprobs=asked, prompt_logprobs=asked)
        text = self.engine.tokenizer.stream(())
        row = Row(str(number), adapter, tokens, TOKENS, params, text, to.append, Random(number))
        # Whoever asks anew finds nothing of what was computed before.
        row.tenant = str(time.perf_counter())
        return row


def _theirs(asked: Peer) -> float:
    return ROWS * TOKENS / asked(ROWS, TOKENS, 1, scored=ALTERNATIVES)["seconds"]


def figures(medians: Mapping[str, float]) -> list[Figure]:
    """What was promised, and what was seen."""
    ratios = {
        "told to read": ("told", "read"),
        "told to vLLM": ("told", "vLLM, told"),
        "16 adapters to none": ("16 adapters, told", "told"),
    }
    return [
        *(Figure(f"scoring.{name}", value, "tokens/s") for name, value in medians.items()),
        *(
            at_least(f"scoring.ratio.{name}", medians[ours] / medians[other], "ratio", WANTED[name])
            for name, (ours, other) in ratios.items()
            if other in medians
        ),
    ]


def run(base: Base, rounds: int) -> list[Figure]:
    """Measure all cases."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            str(number): random_adapter(base, Path(scratch, str(number)), RANK, number)
            for number in range(ROWS)
        }
        options = EngineOptions(slot_bytes=4 << 30, drafts=0)
        engine = Engine.from_folder(base.folder, finder(folders), options)
        ours = Ours(engine, tuple(folders))
        dtype = dtype_name(choose_dtype("auto", torch.device("cpu")))
        asked = {
            "read": partial(ours.rate, adapted=False, told=False),
            "told": partial(ours.rate, adapted=False, told=True),
            "16 adapters, told": partial(ours.rate, adapted=True, told=True),
        }
        with peer(VLLM, "vllm_cpu.py", base.folder, dtype, cores()) as vllm:
            if vllm is not None:
                asked["vLLM, told"] = partial(_theirs, vllm)
            return figures(alternating(asked, rounds))


def main() -> None:
    """Measure, print, and write what was asked for."""
    command(__doc__, 3, lambda _, base, rounds: run(base, rounds))


if __name__ == "__main__":
    main()
