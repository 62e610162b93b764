"""How fast is training, beside the loop that everybody writes? On any folder of chat-format tasks.

The plain loop: PEFT on transformers, rows padded to the longest of their batch, logits for every
token, AdamW. Ours learns from the same rows in the same order, at the same learning rate. Rounds
alternate; a figure is the median. Tokens are those of the chats: padding does not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.mixed_tasks import Task, read_tasks
from benchmarks.report import Row, at_least, at_most, show, write_json
from deploy.settings import read_settings
from specialists.base import Base, locate_base
from specialists.engine.text import Tokenizer
from specialists.hardware import choose_dtype
from specialists.training.encoding import Example, encode
from specialists.training.finetune import finetune
from specialists.training.lora_network import with_adapter
from specialists.training.recipe import Recipe, learning_rate_share

IGNORED = -100
"""The label of tokens that are not learnt, to transformers."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One training: tokens a second, and the loss of its last step."""

    tokens_per_second: float
    loss: float


def main() -> None:
    """Train both ways on a sample of each task, and print the ratios."""
    arguments = _arguments()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    dtype = choose_dtype(arguments.plain_dtype, torch.device("cpu"))
    rows: list[Row] = []
    for task in read_tasks(arguments.data):
        sample = Task(task.name, task.train[: arguments.rows], [])
        rows += _compared(base, sample, dtype, arguments.rounds)
        show(rows[-3:])
    ratios = [row.value for row in rows if row.name.endswith(".ratio")]
    gaps = [row.value for row in rows if row.name.endswith(".loss_gap")]
    rows += [
        at_least("training.ratio", statistics.geometric_mean(ratios), "plain loop's", 2.0),
        at_most("training.loss_gap", max(gaps), "nats", 0.01),
    ]
    show(rows[-2:])
    write_json(arguments.json, rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--rows", type=int, default=64, help="of each task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--plain-dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16"],
        help="of the plain loop's base; auto is what this machine computes fast, as ours is",
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


def _compared(base: Base, task: Task, dtype: torch.dtype, rounds: int) -> Iterator[Row]:
    recipe = Recipe(epochs=1)
    ways: dict[str, Callable[[], Ran]] = {
        "plain": lambda: _plain(base, task, recipe, dtype),
        "ours": lambda: _ours(base, task, recipe),
    }
    ran: dict[str, list[Ran]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            ran[name].append(way())
    plain, ours = (
        statistics.median(each.tokens_per_second for each in ran[name])
        for name in ("plain", "ours")
    )
    yield Row(f"training.{task.name}.tokens_per_second", ours, "tokens/s")
    yield Row(f"training.{task.name}.ratio", ours / plain, "plain loop's")
    gap = abs(ran["ours"][0].loss - ran["plain"][0].loss)
    yield Row(f"training.{task.name}.loss_gap", gap, "nats")


def _ours(base: Base, task: Task, recipe: Recipe) -> Ran:
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trained = finetune(
            base, task.train, Path(folder), recipe, lambda step: losses.append(step.loss)
        )
    return Ran(trained.tokens / trained.seconds, losses[-1])


def _plain(base: Base, task: Task, recipe: Recipe, dtype: torch.dtype) -> Ran:
    tokenizer = Tokenizer.from_folder(base.folder)
    encoded = (encode(row, tokenizer, recipe.max_tokens) for row in task.train)
    examples = [example for example in encoded if example is not None]
    network = with_adapter(base, recipe).to(dtype)
    # As transformers has it for everybody.
    network.get_base_model().set_attn_implementation("sdpa")
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    steps = recipe.steps(len(examples))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, steps)
    )
    Random(f"{recipe.seed} 0").shuffle(examples)
    loss, started = torch.zeros(()), time.monotonic()
    for at in range(0, len(examples), recipe.batch_size):
        loss = network(**_padded(examples[at : at + recipe.batch_size])).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    tokens = sum(len(example.tokens) for example in examples)
    return Ran(tokens / (time.monotonic() - started), loss.item())


def _padded(examples: Sequence[Example]) -> dict[str, Any]:
    width = max(len(example.tokens) for example in examples)

    def filled(values: Callable[[Example], list[int]], empty: int) -> torch.Tensor:
        return torch.tensor(
            [values(each) + [empty] * (width - len(each.tokens)) for each in examples]
        )

    def labels(example: Example) -> list[int]:
        pairs = zip(example.tokens, example.learnt, strict=True)
        return [token if learnt else IGNORED for token, learnt in pairs]

    return {
        "input_ids": filled(lambda each: each.tokens, 0),
        "attention_mask": filled(lambda each: [1] * len(each.tokens), 0),
        "labels": filled(labels, IGNORED),
    }


if __name__ == "__main__":
    main()
