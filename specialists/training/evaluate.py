"""Held-out scores of an adapter and of the bare base, answered by the engine itself."""

import asyncio
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from transformers import AutoConfig

from registry.files import AdapterFiles
from specialists.base import Base, Progress, silent
from specialists.engine.core import SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Request, Runner
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.hardware import choose_dtype
from specialists.training.data import Row, encode

CPU = torch.device("cpu")
ROOM = 8
"""Tokens that an answer may have beyond its reference before it is cut."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of the specialist, and the bare base's beside it.

    Attributes:
        metric: `exact_match` (share of greedy answers equal to the reference), `token_f1` (mean
            overlap of words with the reference, Rajpurkar et al. 2016), or `perplexity` (exp of
            the mean negative log-likelihood of the reference's tokens; lower is better).
        value: the specialist's.
        base_value: the bare base's.
        rows: held-out rows.
        data: digest of the held-out file.
    """

    metric: str
    value: float
    base_value: float
    rows: int
    data: str


def evaluate(
    base: Base, adapter: Path, heldout: Path, rows: list[Row], report: Progress = silent
) -> list[Score]:
    """Score an adapter folder on the held-out rows that fit the base's context.

    Args:
        base: what the adapter was trained for.
        adapter: its folder.
        heldout: the file that the rows come from.
        rows: what is asked, and what should be answered.
        report: told after each answer and each likelihood.

    Raises:
        TrainingDataError: none does.
    """
    rows = _that_fit(base, rows)
    if not rows:
        raise TrainingDataError(f"every row of {heldout} is longer than the base's context")
    data = f"sha256:{hashlib.sha256(heldout.read_bytes()).hexdigest()}"
    wanted, bare, answers = asyncio.run(_answers(base, adapter, rows, report))
    bare_surprise, surprise = (_perplexity(base, each, rows, report) for each in (None, adapter))
    scores = [
        ("exact_match", _mean(same_answer, answers, wanted), _mean(same_answer, bare, wanted)),
        ("token_f1", _mean(token_f1, answers, wanted), _mean(token_f1, bare, wanted)),
        ("perplexity", surprise, bare_surprise),
    ]
    return [Score(metric, own, bares, len(rows), data) for metric, own, bares in scores]


def _that_fit(base: Base, rows: list[Row]) -> list[Row]:
    tokenizer = Tokenizer.from_folder(base.folder)
    limit = AutoConfig.from_pretrained(base.folder).max_position_embeddings - ROOM
    return [row for row in rows if encode(row, tokenizer, limit) is not None]


def same_answer(answer: str, reference: str) -> bool:
    """Equality of answers up to white space at the ends."""
    return answer.strip() == reference.strip()


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, in lower case."""
    got, wanted = (Counter(re.findall(r"\w+", text.lower())) for text in (answer, reference))
    shared = sum((got & wanted).values())
    return 2 * shared / (sum(got.values()) + sum(wanted.values())) if shared else 0.0


def _mean(score: Callable[[str, str], float], answers: list[str], wanted: list[str]) -> float:
    return sum(map(score, answers, wanted)) / len(wanted)


async def _answers(
    base: Base, adapter: Path, rows: list[Row], report: Progress
) -> tuple[list[str], list[str], list[str]]:
    """The answers wanted, and greedy ones of base and adapter, both in the same batches."""
    files = AdapterFiles.in_folder(adapter)
    runner = Runner.from_folder(
        base.folder, lambda _: files, EngineOptions(), max_waiting=2 * len(rows)
    )
    tokenizer = runner.engine.tokenizer
    try:
        asked = [(digest, row) for digest in (None, "adapter") for row in rows]
        done = count(1)

        async def answered(digest: str | None, row: Row) -> str:
            text = await answer_greedily(runner, digest, row)
            report("Answering held-out rows", next(done), len(asked))
            return text

        texts = await asyncio.gather(*(answered(*pair) for pair in asked))
        wanted = [tokenizer.said(row.answer) for row in rows]
        return wanted, texts[: len(rows)], texts[len(rows) :]
    finally:
        runner.close()


async def answer_greedily(runner: Runner, adapter: str | None, row: Row) -> str:
    """What is answered to a row's request, cut a little beyond the length of its own answer."""
    tokenizer = runner.engine.tokenizer
    room = len(tokenizer.encode(tokenizer.said(row.answer))) + ROOM
    prompt = tokenizer.encode_chat(row.request, tools=row.tools)
    request = Request("held-out", adapter, prompt, 1, SamplingParams(room, temperature=0.0))
    text = ""
    async for emissions in runner.generate(request):
        text += "".join(emission.text for _, emission in emissions)
    return text


@torch.inference_mode()
def _perplexity(base: Base, adapter: Path | None, rows: list[Row], report: Progress) -> float:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=choose_dtype("auto", CPU))
    if adapter is not None:
        network = PeftModel.from_pretrained(network, adapter)
    tokenizer = Tokenizer.from_folder(base.folder)
    doing = "Reading references as the " + ("base" if adapter is None else "specialist")
    total, tokens = 0.0, 0
    for number, row in enumerate(rows, 1):
        example = encode(row, tokenizer, network.config.max_position_embeddings)
        if example is not None:
            logits = network(torch.tensor([example.tokens])).logits[0, :-1].float()
            targets = torch.tensor(example.tokens[1:])
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            learnt = torch.tensor(example.learnt[1:])
            total += float(losses[learnt].sum())
            tokens += int(learnt.sum())
        report(doing, number, len(rows))
    return math.exp(total / tokens)
