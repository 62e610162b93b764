"""Held-out scores of adapters and of the bare base, answered by the engine itself."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import torch
from transformers import AutoConfig

from registry.files import AdapterFiles
from specialists.base import Base
from specialists.engine.backend import Request
from specialists.engine.core import SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Runner
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.hardware import fastest_device
from specialists.progress import Progress, silent
from specialists.together import together
from specialists.training.data import Row
from specialists.training.documents import Document
from specialists.training.encoding import Example, encode_all, examples_of
from specialists.training.lora_network import bare_network
from specialists.training.metrics import Estimate, mean, perplexity, ratio, scored
from specialists.training.objective import objective, surprises
from specialists.training.packing import groups
from specialists.training.pairs import Pair

Text: TypeAlias = Row | Document
"""What surprises more or less; a chat asks for an answer too."""
ROOM = 8
"""Tokens that an answer may have beyond its reference before it is cut."""
BASE = "base"
"""What the bare base is called among those that are scored."""
PERPLEXITY = "perplexity"
PREFERENCE = "preference_accuracy"
TOO_LONG = "every held-out row is longer than the base's context"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of a specialist, and the bare base's beside it.

    Attributes:
        metric: `exact_match`, `token_f1`, `json_valid`, `field_accuracy` (all of `metrics.py`),
            `perplexity` (exp of the mean negative log-likelihood of the reference's tokens; lower
            is better), `divergence` (from an instructed base, in nats per token; lower too), or
            `preference_accuracy` (share of pairs whose preferred answer is the likelier per token).
        value: the specialist's.
        low: where its 95% interval over samples of rows begins.
        high: where that ends.
        base_value: the bare base's.
        before_value: that of the version which is in service, if it was scored too.
        rows: held-out rows.
        data: digest of the held-out rows.
    """

    metric: str
    value: float
    low: float
    high: float
    base_value: float
    before_value: float | None
    rows: int
    data: str


def evaluate(
    base: Base,
    adapter: AdapterFiles,
    rows: Sequence[Text],
    data: str,
    report: Progress = silent,
    before: AdapterFiles | None = None,
) -> list[Score]:
    """Score an adapter on the held-out rows that fit the base's context.

    Documents ask for no answer: of them there is a perplexity alone.

    Args:
        base: what the adapter was trained for.
        adapter: its files.
        rows: what is asked, and what should be answered.
        data: the digest of the rows.
        report: told after each answer and each likelihood.
        before: what is in service so far.

    Raises:
        TrainingDataError: no row fits.
    """
    fitting = _that_fit(base, rows)
    found = _figures(base, _named(adapter, before), fitting, report)
    return [_score(metric, own, len(fitting), data) for metric, own in found.items()]


def _named(adapter: AdapterFiles, before: AdapterFiles | None) -> dict[str, AdapterFiles]:
    """The adapters that are compared, by what they are called."""
    return {"specialist": adapter} | ({"before": before} if before is not None else {})


def _score(metric: str, found: Mapping[str, Estimate], rows: int, data: str) -> Score:
    """One metric of all that are compared."""
    own, earlier = found["specialist"], found.get("before")
    return Score(
        metric,
        value=own.value,
        low=own.low,
        high=own.high,
        base_value=found[BASE].value,
        before_value=None if earlier is None else earlier.value,
        rows=rows,
        data=data,
    )


def _figures(
    base: Base,
    adapters: Mapping[str, AdapterFiles],
    rows: Sequence[Text],
    report: Progress,
) -> dict[str, dict[str, Estimate]]:
    """Every metric of every adapter and of the bare base, by name."""
    surprise = {PERPLEXITY: _perplexities(base, adapters, rows, report)}
    chats = [row for row in rows if isinstance(row, Row)]
    if not chats:
        return surprise
    wanted, answers = asyncio.run(_answers(base, adapters, chats, report))
    return scored(answers, wanted) | surprise


def _that_fit(base: Base, rows: Sequence[Text]) -> list[Text]:
    tokenizer = Tokenizer.from_folder(base.folder)
    limit = AutoConfig.from_pretrained(base.folder).max_position_embeddings - ROOM
    fitting = [row for row in rows if examples_of(row, tokenizer, limit)]
    if not fitting:
        raise TrainingDataError(TOO_LONG)
    return fitting


async def _answers(
    base: Base, adapters: Mapping[str, AdapterFiles], rows: Sequence[Row], report: Progress
) -> tuple[list[str], dict[str, list[str]]]:
    """The answers wanted, and greedy ones of the base and each adapter, in the same batches."""
    names = (BASE, *adapters)
    options = EngineOptions(device=fastest_device().type)
    runner = Runner.from_folder(
        base.folder, adapters.__getitem__, options, max_waiting=len(names) * len(rows)
    )
    tokenizer = runner.tokenizer
    try:
        done = count(1)

        async def answered(name: str, row: Row) -> str:
            text = await answer_greedily(runner, None if name == BASE else name, row)
            report("Answering held-out rows", next(done), len(names) * len(rows))
            return text

        asked = ((name, row) for name in names for row in rows)
        texts = iter(await together(answered(*pair) for pair in asked))
        wanted = [tokenizer.said(row.answer) for row in rows]
        return wanted, {name: [next(texts) for _ in rows] for name in names}
    finally:
        runner.close()


async def answer_greedily(runner: Runner, adapter: str | None, row: Row) -> str:
    """What is answered to a row's request, cut a little beyond the length of its own answer.

    It is thought over where the row's own answer was.
    """
    tokenizer = runner.tokenizer
    thought, _ = tokenizer.apart(row.answer)
    room = len(tokenizer.encode(tokenizer.said(row.answer))) + len(tokenizer.encode(thought))
    prompt = tokenizer.encode_chat(row.request, tools=row.tools, thinks=bool(thought))
    params = SamplingParams(room + ROOM, temperature=0.0)
    thoughts = tokenizer.thoughts_after(prompt)
    request = Request("held-out", adapter, prompt, 1, params, thoughts=thoughts)
    text = ""
    async for emissions in runner.generate(request):
        text += "".join(emission.text for _, emission in emissions)
    return text


def _perplexities(
    base: Base,
    adapters: Mapping[str, AdapterFiles],
    rows: Sequence[Text],
    report: Progress,
) -> dict[str, Estimate]:
    """Of the references, by the base and by each adapter that PEFT can load."""
    tokenizer, network = Tokenizer.from_folder(base.folder), bare_network(base)
    limit = network.config.max_position_embeddings
    examples = encode_all(rows, tokenizer, limit)
    return {
        name: _perplexity(llama, examples, f"Reading references as {_article(name)}", report)
        for name, llama in _each(network, adapters)
    }


def _each(network: Any, adapters: Mapping[str, AdapterFiles]) -> Iterator[tuple[str, Any]]:
    """The network as it is, then with one adapter after another."""
    yield BASE, network
    for name, files in adapters.items():
        with _adapted(network, files) as adapted:
            yield name, adapted.get_base_model()


def _article(name: str) -> str:
    return "it was before" if name == "before" else f"the {name}"


@torch.inference_mode()
def preference(
    base: Base,
    adapter: AdapterFiles,
    pairs: Sequence[Pair],
    data: str,
    report: Progress = silent,
    before: AdapterFiles | None = None,
) -> Score:
    """Of how many pairs an adapter finds the preferred answer the likelier, token by token.

    `report` is told after some pairs.

    Raises:
        TrainingDataError: no pair fits the base's context.
    """
    tokenizer, network = Tokenizer.from_folder(base.folder), bare_network(base)
    limit = network.config.max_position_embeddings
    examples = encode_all(pairs, tokenizer, limit)
    if not examples:
        raise TrainingDataError(TOO_LONG)
    adapters = _named(adapter, before)
    shares = {
        name: mean(_preferred(llama, examples, f"Comparing answers as {_article(name)}", report))
        for name, llama in _each(network, adapters)
    }
    return _score(PREFERENCE, shares, len(examples), data)


def _preferred(llama: Any, pairs: Sequence[Example], doing: str, report: Progress) -> list[float]:
    """Of each pair 1 where its preferred answer is the likelier per token, else 0."""
    found: list[float] = []
    for group in groups(pairs):
        counts = _counts([part for pair in group for part in pair.parts])
        sums = zip(surprises(llama, group).tolist(), counts, strict=True)
        each = [total / count for total, count in sums]
        found += [float(own < other) for own, other in zip(each[::2], each[1::2], strict=True)]
        report(doing, len(found), len(pairs))
    return found


@contextmanager
def _adapted(network: Any, files: AdapterFiles) -> Iterator[Any]:
    """The network with an adapter, and afterwards without it; PEFT wants files in a folder."""
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as folder:
        files.copied_into(Path(folder))
        adapted = PeftModel.from_pretrained(network, folder)
    try:
        yield adapted
    finally:
        adapted.unload()


@torch.inference_mode()
def divergence(
    base: Base,
    adapter: AdapterFiles,
    rows: Sequence[Text],
    instruction: str,
    data: str,
    report: Progress = silent,
) -> Score:
    """How far an adapter is from the base that is told an instruction, and the bare base is.

    The mean Kullback-Leibler divergence, in nats, of what is predicted without the instruction from
    what the base predicts with it, over the tokens of the answers.

    `report` is told after some rows.

    Raises:
        TrainingDataError: no row fits the base's context.
    """
    tokenizer, network = Tokenizer.from_folder(base.folder), bare_network(base)
    limit = network.config.max_position_embeddings
    examples = encode_all(rows, tokenizer, limit, instruction)
    if not examples:
        raise TrainingDataError(TOO_LONG)
    own: list[float] = []
    bare: list[float] = []
    with _adapted(network, adapter) as adapted:
        for group in groups(examples):
            own += _by_example(objective(adapted, group)[0], group)
            with adapted.disable_adapter():
                bare += _by_example(objective(adapted, group)[0], group)
            report("Comparing with the instructed base", len(own), len(examples))
    tokens = _counts(examples)
    found, before = ratio(own, tokens), ratio(bare, tokens)
    ends = found.value, found.low, found.high
    return Score("divergence", *ends, before.value, None, len(examples), data)


def _by_example(losses: torch.Tensor, examples: Sequence[Example]) -> list[float]:
    """The losses of all learnt tokens as each example's sum."""
    return [float(part.sum()) for part in torch.split(losses, _counts(examples))]


def _counts(examples: Sequence[Example]) -> list[int]:
    """Learnt tokens of each."""
    return [example.count for example in examples]


@torch.inference_mode()
def _perplexity(llama: Any, examples: Sequence[Example], doing: str, report: Progress) -> Estimate:
    found: list[float] = []
    for group in groups(examples):
        found += surprises(llama, group).tolist()
        report(doing, len(found), len(examples))
    return perplexity(found, _counts(examples))
