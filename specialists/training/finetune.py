"""Fine-tuning: a LoRA adapter from chat rows, as a plain PEFT folder."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.nn import functional as F

from specialists.base import Base
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.hardware import choose_dtype
from specialists.training.data import Example, Row, encode

CPU = torch.device("cpu")
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained; the defaults suit a few hundred short rows.

    Attributes:
        rank: of every adapted linear.
        epochs: passes over the rows.
        learning_rate: at its peak, after the warm-up; it then falls along a cosine.
        batch_size: rows per step.
        max_tokens: longer rows are left out.
        seed: of initialisation and order.
    """

    rank: int = 16
    epochs: int = 3
    learning_rate: float = 1e-3
    batch_size: int = 8
    max_tokens: int = 1024
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of training.

    Attributes:
        step: from 1.
        steps: in all.
        loss: mean negative log-likelihood per learnt token of this step's rows, in nats.
        tokens_per_second: of the whole chat, prompts included.
        seconds_left: an estimate.
    """

    step: int
    steps: int
    loss: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Trained:
    """A finished adapter.

    Attributes:
        folder: `adapter_config.json` and `adapter_model.safetensors`.
        rows: that were learnt from.
        left_out: rows longer than the recipe allows.
        loss: mean of the last tenth of the steps.
        seconds: that it took.
    """

    folder: Path
    rows: int
    left_out: int
    loss: float
    seconds: float


def finetune(
    base: Base, rows: list[Row], folder: Path, recipe: Recipe, report: Callable[[Progress], None]
) -> Trained:
    """Train an adapter on the assistant's turns of `rows` and write it to `folder`.

    Raises:
        TrainingDataError: no row is short enough.
    """
    tokenizer = Tokenizer.from_folder(base.folder)
    encoded = [encode(row, tokenizer, recipe.max_tokens) for row in rows]
    examples = [example for example in encoded if example is not None]
    if not examples:
        raise TrainingDataError(f"every row is longer than {recipe.max_tokens} tokens")
    torch.manual_seed(recipe.seed)
    network = _with_lora(base, recipe)
    started = time.monotonic()
    losses = [_reported(progress, report) for progress in _train(network, examples, recipe)]
    _save(network, base, folder)
    tail = losses[-max(len(losses) // 10, 1) :]
    return Trained(
        folder=folder,
        rows=len(examples),
        left_out=len(rows) - len(examples),
        loss=sum(tail) / len(tail),
        seconds=time.monotonic() - started,
    )


def _with_lora(base: Base, recipe: Recipe) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    dtype = choose_dtype("auto", CPU)
    bare = AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        target_modules=list(ALL_LINEAR),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(bare, config)


def _train(network: Any, examples: list[Example], recipe: Recipe) -> Iterator[Progress]:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    batches = list(_batches(examples, recipe))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(batches)))
    network.train()
    started, tokens = time.monotonic(), 0
    for step, batch in enumerate(batches, 1):
        loss = _loss(network, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += sum(len(example.tokens) for example in batch)
        passed = time.monotonic() - started
        left = passed / step * (len(batches) - step)
        yield Progress(step, len(batches), loss.item(), tokens / passed, left)


def _batches(examples: list[Example], recipe: Recipe) -> Iterator[list[Example]]:
    """Shuffled batches of rows of similar length, so that little is spent on padding."""
    random = Random(recipe.seed)  # noqa: S311 (no secret is made)
    for _ in range(recipe.epochs):
        order = sorted(examples, key=lambda example: len(example.tokens) + 8 * random.random())
        batches = [
            order[at : at + recipe.batch_size] for at in range(0, len(order), recipe.batch_size)
        ]
        random.shuffle(batches)
        yield from batches


def _rate(step: int, steps: int) -> float:
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def _loss(network: Any, batch: list[Example]) -> torch.Tensor:
    """Mean cross-entropy over the learnt tokens; logits are computed for those alone."""
    width = max(len(example.tokens) for example in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    present = torch.zeros(len(batch), width, dtype=torch.long)
    learnt = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, example in enumerate(batch):
        length = len(example.tokens)
        tokens[row, :length] = torch.tensor(example.tokens)
        present[row, :length] = 1
        learnt[row, :length] = torch.tensor(example.learnt)
    llama = network.get_base_model()
    hidden = llama.model(input_ids=tokens, attention_mask=present).last_hidden_state
    # A token is predicted from the place before it.
    logits = llama.lm_head(hidden[:, :-1][learnt[:, 1:]])
    return F.cross_entropy(logits.float(), tokens[:, 1:][learnt[:, 1:]])


def _save(network: Any, base: Base, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    network.peft_config["default"].base_model_name_or_path = base.name
    # PEFT would ask a hub whether the vocabulary grew; only linears are trained here.
    network.to(torch.bfloat16).save_pretrained(folder, save_embedding_layers=False)
    # PEFT leaves a model card of its own, with nothing in it.
    (folder / "README.md").unlink(missing_ok=True)


def _reported(progress: Progress, report: Callable[[Progress], None]) -> float:
    report(progress)
    return progress.loss
