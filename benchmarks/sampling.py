"""What does choosing the next token cost, beside always taking the likeliest one?

Logits are the base's own, of as many places of a story as a step has rows.
"""

import argparse
import statistics
import time
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import Row as Figure
from benchmarks.report import at_most, write_json
from deploy.settings import read_settings
from specialists.base import locate_base
from specialists.engine.core import Row, SamplingParams
from specialists.engine.sampler import sample
from specialists.engine.text import Tokenizer
from specialists.machine import cores

STORY = (
    "Write a short story about a lighthouse keeper who finds a strange bottle on the beach. The "
    "keeper opened it and inside there was a letter from a queen who had lost her crown at sea."
)
ROWS, ROUNDS = 32, 30
CASES: dict[str, tuple[SamplingParams, float | None]] = {
    "greedy": (SamplingParams(8, temperature=0.0), None),
    "temperature 1": (SamplingParams(8), 8.0),
    "temperature 1, top_p 0.9": (SamplingParams(8, top_p=0.9), 15.0),
    "temperature 0.7, top_p 0.9": (SamplingParams(8, temperature=0.7, top_p=0.9), 15.0),
    "temperature 1, top_p 0.99": (SamplingParams(8, top_p=0.99), None),
    "temperature 2, top_p 0.999": (SamplingParams(8, temperature=2.0, top_p=0.999), None),
    "temperature 0.7, top_k 50": (SamplingParams(8, temperature=0.7, top_k=50), None),
    "temperature 1, top_k 40,000": (SamplingParams(8, top_k=40_000), None),
    "greedy, 20 logprobs": (SamplingParams(8, temperature=0.0, logprobs=20), None),
    "greedy, repetition_penalty": (
        SamplingParams(8, temperature=0.0, repetition_penalty=1.1),
        None,
    ),
    "greedy, frequency_penalty": (
        SamplingParams(8, temperature=0.0, frequency_penalty=0.5),
        None,
    ),
    "greedy, 1,024 biases": (
        SamplingParams(8, temperature=0.0, logit_bias=tuple((at, 1.0) for at in range(1024))),
        None,
    ),
}
ANSWER, WORDS = 1000, 600
"""Tokens that each row has already, and of how many different ones, for penalties."""


def main() -> None:
    """Measure every case, a round each in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    settings = read_settings()
    folder = locate_base(settings.base, settings.home).folder
    logits, tokenizer = story_logits(folder), Tokenizer.from_folder(folder)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, (params, _) in CASES.items():
            rows = [_row(number, params, tokenizer) for number in range(len(logits))]
            times[name].append(_milliseconds(logits, rows))
    medians = {name: statistics.median(found) for name, found in times.items()}
    table = Table("sampling", f"ms for {len(logits)} rows", "× greedy")
    for name, median in medians.items():
        table.add_row(name, f"{median:.1f}", f"{median / medians['greedy']:.1f}")
    Console().print(table)
    write_json(arguments.json, [_figure(name, median) for name, median in medians.items()])


def story_logits(folder: Path) -> torch.Tensor:
    """Float32 logits [rows, vocabulary] of the places of a story."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(folder)(STORY, return_tensors="pt")
    with torch.inference_mode():
        logits: torch.Tensor = network(**tokens).logits[0, -ROWS:].contiguous()
    return logits


def _milliseconds(logits: torch.Tensor, rows: list[Row]) -> float:
    with torch.inference_mode():
        sample(logits, rows)
        began = time.perf_counter()
        sample(logits, rows)
    return 1000 * (time.perf_counter() - began)


def _row(number: int, params: SamplingParams, tokenizer: Tokenizer) -> Row:
    text, random = tokenizer.stream(()), Random(number)
    answer = [random.randrange(WORDS) for _ in range(ANSWER)]
    return Row(str(number), None, [1, *answer], 1, params, text, lambda _: None, random)


def _figure(name: str, median: float) -> Figure:
    target = CASES[name][1]
    title = f"sampling.{name}"
    if target is None:
        return Figure(title, median, "ms")
    return at_most(title, median, "ms", target)


if __name__ == "__main__":
    main()
