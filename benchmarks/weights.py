"""What do weights of few bits change? Perplexity and answers, against float32 on the same base.

Perplexity is of a text of this repository, cut into rows of 64 tokens, with the bare base; the
answers are the demo specialists' to their held-out requests, greedy.
"""

import argparse
import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.demos import engine, heldout
from benchmarks.report import Row as Figure
from benchmarks.report import at_most, write_json
from deploy.settings import read_settings
from specialists.base import Base, locate_base
from specialists.engine.core import Row, Run, SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.networks import open_network
from specialists.engine.pages import pages_needed
from specialists.engine.slots import SlotPool
from specialists.engine.text import Tokenizer
from specialists.engine.text_stream import TextStream
from specialists.training.data import Row as Chat
from specialists.training.evaluate import answer_greedily
from specialists.training.metrics import same_answer, token_f1

CPU = torch.device("cpu")
TEXT = Path(__file__).parents[1] / "docs" / "specialists.md"
ROWS, WIDTH = 32, 64
LIMITS = {"perplexity": 0.01, "exact match": 0.01}
"""How much worse than float32: relative, and in shares."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What was seen with weights of one kind."""

    perplexity: float
    exact: float
    f1: float


@torch.inference_mode()
def perplexity(base: Base, weights: str) -> float:
    """Of the text, each token after those before it in its row."""
    network = open_network(base.folder, weights, CPU, None)
    pages = pages_needed(WIDTH)
    network.allocate(ROWS * pages)
    tokenizer = Tokenizer.from_folder(base.folder)
    tokens, text = tokenizer.encode(TEXT.read_text()), tokenizer.stream(())
    rows = [
        _row(tokens[at * WIDTH : (at + 1) * WIDTH], range(at * pages, (at + 1) * pages), text)
        for at in range(min(ROWS, len(tokens) // WIDTH))
    ]
    network.clear(list(range(ROWS * pages)))
    surprise = 0.0
    for place in range(WIDTH - 1):
        runs = [Run(_seen(row, place + 1), 1) for row in rows]
        likely = network.forward(runs, SlotPool(1)).log_softmax(-1)
        surprise -= sum(
            float(line[row.tokens[place + 1]]) for line, row in zip(likely, rows, strict=True)
        )
    return math.exp(surprise / (len(rows) * (WIDTH - 1)))


def _row(tokens: list[int], pages: range, text: TextStream) -> Row:
    return Row(
        "", None, tokens, WIDTH, SamplingParams(), text, lambda _: None, Random(0),
        pages=list(pages),
    )  # fmt: skip


def _seen(row: Row, count: int) -> Row:
    """The row as it is when only so many of its tokens are there, all but the last computed."""
    return Row(
        row.id, None, row.tokens[:count], count, row.params, row.text, row.emit, row.random,
        pages=row.pages, computed=count - 1,
    )  # fmt: skip


async def answers(base: Base, weights: str, chats: list[tuple[str, Chat]]) -> list[str]:
    """The demos' greedy answers."""
    runner = engine(base, EngineOptions(weights=weights), len(chats))
    try:
        return await asyncio.gather(*(answer_greedily(runner, name, chat) for name, chat in chats))
    finally:
        runner.close()


def quality(base: Base, weights: str, chats: list[tuple[str, Chat]]) -> Quality:
    """All that is measured of one kind of weights."""
    given = asyncio.run(answers(base, weights, chats))
    wanted = [chat.answer.content for _, chat in chats]
    return Quality(
        perplexity(base, weights),
        sum(map(same_answer, given, wanted)) / len(wanted),
        sum(map(token_f1, given, wanted)) / len(wanted),
    )


def main() -> None:
    """Measure each kind of weights, and compare it with float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="+", default=["int4", "int8"])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    chats = [(name, chat) for name, asked in heldout().items() for chat in asked]
    found = {name: quality(base, name, chats) for name in ["float32", *arguments.weights]}
    table = Table("weights", "perplexity", "exact match", "token F1")
    for name, each in found.items():
        table.add_row(name, f"{each.perplexity:.3f}", f"{each.exact:.3f}", f"{each.f1:.3f}")
    Console().print(table)
    exact = found.pop("float32")
    figures: list[Figure] = []
    for name, each in found.items():
        worse = {
            "perplexity": each.perplexity / exact.perplexity - 1,
            "exact match": exact.exact - each.exact,
        }
        figures += [
            at_most(f"weights.{name}.{what}", lost, "share", LIMITS[what])
            for what, lost in worse.items()
        ]
    write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
