"""Context distillation: does a specialist behave as the base does with a long instruction?

The base is told an instruction of about a thousand tokens and answers requests of a labelled set;
a specialist learns from some of them, without the instruction. On the others: how far is it from
the instructed base (Kullback-Leibler divergence per token of the answers), and how far is the bare?
"""

import argparse
import asyncio
import json
import tempfile
from itertools import count
from pathlib import Path
from random import Random
from typing import get_args

from rich.progress import Progress as Bars
from transformers.utils import logging

from benchmarks.report import Row as Figure
from benchmarks.report import at_least, at_most, show, write_json
from deploy.settings import read_settings
from registry.effort import Effort
from registry.files import AdapterFiles
from specialists.base import Base, locate_base
from specialists.engine.backend import Request
from specialists.engine.core import SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Runner
from specialists.engine.text import Tokenizer
from specialists.training.data import Message, Row
from specialists.training.encoding import encode, encode_instructed
from specialists.training.evaluate import divergence
from specialists.training.finetune import finetune
from specialists.training.recipe import recipe_for

ANSWER = 48
HELD = 48
RULES = (
    "You answer as Captain Juniper, who runs a ferry.",
    "Begin every answer with the words 'Ahoy there,' and end it with 'Fair winds!'",
    "Use at most two sentences, in plain words, and never a list.",
    "Call the person who asks 'sailor', money 'doubloons', and a house a 'berth'.",
    "When you do not know something, say that the fog is too thick to see it.",
    "Never mention that you are a model, an assistant or a program.",
)


def instruction(tokenizer: Tokenizer, tokens: int) -> str:
    """Rules, each with its reasons, until they are so long."""
    text, numbers = "\n".join(RULES), count(1)
    while len(tokenizer.encode(text)) < tokens:
        rule = RULES[next(numbers) % len(RULES)]
        text += (
            f"\nRule {next(numbers)}. Remember this one above all when you are in doubt, since the "
            f"passengers of the ferry expect it of the captain at any hour of the day: {rule}"
        )
    return text


def requests(folder: Path, wanted: int) -> list[str]:
    """Distinct requests of a labelled set, drawn evenly."""
    lines = (folder / "train.jsonl").read_text().splitlines()
    texts = list(dict.fromkeys(json.loads(line)["text"] for line in lines))
    return Random(0).sample(texts, wanted)


async def answered(base: Base, told: str, asked: list[str]) -> list[Row]:
    """The instructed base's answers, as rows without the instruction."""
    adapters: dict[str, AdapterFiles] = {}
    runner = Runner.from_folder(
        base.folder, adapters.__getitem__, EngineOptions(), max_waiting=len(asked)
    )
    tokenizer = runner.tokenizer
    system = Message(role="system", content=told)

    async def one(text: str) -> Row:
        turn = Message(role="user", content=text)
        prompt = tokenizer.encode_chat([system, turn])
        params = SamplingParams(ANSWER, temperature=0.0)
        said = ""
        async for emissions in runner.generate(Request(text, None, prompt, 1, params)):
            said += "".join(emission.text for _, emission in emissions)
        answer = Message(role="assistant", content=said.strip() or "...")
        bars.advance(bar)
        return Row(messages=(turn, answer))

    with Bars() as bars:
        bar = bars.add_task("Asking the instructed base", total=len(asked))
        try:
            return list(await asyncio.gather(*map(one, asked)))
        finally:
            runner.close()


def main() -> None:
    """Ask, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl of texts")
    parser.add_argument("--rows", type=int, default=250, help="to learn from")
    parser.add_argument("--effort", choices=get_args(Effort), default="standard")
    parser.add_argument("--tokens", type=int, default=1000, help="of the instruction")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    tokenizer = Tokenizer.from_folder(base.folder)
    told = instruction(tokenizer, arguments.tokens)
    rows = asyncio.run(answered(base, told, requests(arguments.data, arguments.rows + HELD)))
    learnt, held = rows[HELD:], rows[:HELD]
    with tempfile.TemporaryDirectory() as folder, Bars() as bars:
        bar = bars.add_task("Training", total=None)
        trained = finetune(
            base,
            learnt,
            Path(folder),
            recipe_for(len(learnt), arguments.effort),
            lambda step: bars.update(bar, total=step.steps, completed=step.step),
            instruction=told,
        )
        files = AdapterFiles.in_folder(Path(folder))
        found = divergence(base, files, held, told, "held out")
    figures = [
        Figure("context.instruction", len(tokenizer.encode(told)), "tokens"),
        Figure("context.bare base", found.base_value, "nats/token"),
        Figure("context.specialist", found.value, "nats/token"),
        at_least("context.gap closed", 1 - found.value / found.base_value, "share", 0.7),
        Figure("context.training", trained.seconds, "s"),
        at_most("context.prompt tokens", *_prompts(tokenizer, told, held)),
    ]
    show(figures)
    write_json(arguments.json, figures)


def _prompts(tokenizer: Tokenizer, told: str, rows: list[Row]) -> tuple[float, str, float]:
    """Tokens of a prompt without the instruction, as a share of those with it."""
    limit = 1 << 16
    plain = sum(len(each.tokens) for row in rows if (each := encode(row, tokenizer, limit)))
    instructed = (encode_instructed(row, told, tokenizer, limit) for row in rows)
    whole = sum(len(each.instructed.tokens) for each in instructed if each and each.instructed)
    return plain / whole, "share", 0.2


if __name__ == "__main__":
    main()
