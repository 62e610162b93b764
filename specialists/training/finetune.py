"""Fine-tuning: a LoRA adapter from chats, pairs or documents, as a plain PEFT folder.

A run can be stopped after any step, or killed, and gone on with to the same weights: what it is
at a step stands in its checkpoint, and which rows a step learns from follows from the seed alone.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from specialists.base import Base, silent
from specialists.base import Progress as Told
from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError, TrainingStopped
from specialists.training.checkpoint import Checkpoint, Forgetful, Keeper, Weights
from specialists.training.courtesy import between_layers
from specialists.training.encoding import Example, encode_all, examples_of
from specialists.training.lessons import Lesson
from specialists.training.lora_network import save_adapter, with_adapter
from specialists.training.objective import objective, with_leads
from specialists.training.packing import groups
from specialists.training.recipe import Recipe, learning_rate_share

SECONDS_BETWEEN = 30
"""From one checkpoint to the next: what a killed run does again."""
ENOUGH_TO_CHOOSE = 10
"""Validation rows by which it is told when training was best: of fewer, chance says that."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of training.

    Attributes:
        step: from 1.
        steps: in all.
        loss: mean over the lessons of this step's rows, in nats (see `objective.py`).
        accuracy: share of these lessons in which what is wanted was the likeliest.
        tokens_per_second: of the whole chats, prompts included.
        seconds_left: an estimate.
        validation_loss: as `loss`, over the validation rows; known at the end of an epoch.
    """

    step: int
    steps: int
    loss: float
    accuracy: float
    tokens_per_second: float
    seconds_left: float
    validation_loss: float | None = None


@dataclass(frozen=True)
class Trained:
    """A finished adapter.

    Attributes:
        folder: `adapter_config.json` and `adapter_model.safetensors`.
        rows: that were learnt from.
        left_out: rows longer than the recipe allows.
        steps: that were made; fewer than planned when validation stopped it.
        best_step: after which step its weights were as they are: the last one, unless enough
            validation rows say which was best.
        loss: mean of the last tenth of the steps.
        validation_loss: of its weights; None without validation rows.
        tokens: that were read while it was trained.
        seconds: that it took, since it was begun or gone on with.
        losses: of every step.
        validation: the validation losses, by the steps after which they were found.
    """

    folder: Path
    rows: int
    left_out: int
    steps: int
    best_step: int
    loss: float
    validation_loss: float | None
    tokens: int
    seconds: float
    losses: Sequence[float]
    validation: Mapping[int, float]


def finetune(
    base: Base,
    rows: Sequence[Lesson],
    folder: Path,
    recipe: Recipe,
    report: Callable[[Progress], None],
    *,
    validation: Sequence[Lesson] = (),
    parent: Path | None = None,
    instruction: str | None = None,
    keeper: Keeper | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], None] | None = None,
    measured: Told = silent,
) -> Trained:
    """Train an adapter on the assistant's turns of chats, or on others, and write it to `folder`.

    Args:
        base: what it is an adapter of.
        rows: what is learnt: chats, documents, or pairs, whose reference is the parent or the base.
        folder: where the result goes.
        recipe: how it is learnt.
        report: told after each step.
        validation: rows that it is measured by after each epoch; `ENOUGH_TO_CHOOSE` of them say
            after which one it was best, and when it is enough.
        parent: folder of an adapter to go on from, in the place of a new one.
        instruction: what the base was told that gave the answers: the adapter learns to answer
            without it as the base does with it (see `objective.py`); None learns the answers.
        keeper: of its checkpoints; a run that it knows is gone on with.
        stop: asked after each step whether to end here, with a checkpoint.
        pause: called before each layer is computed; it may take its time.
        measured: told after some validation rows; what it raises ends the run without a checkpoint.

    Raises:
        TrainingDataError: no row is short enough.
        TrainingStopped: `stop` said so.
    """
    tokenizer = Tokenizer.from_folder(base.folder)
    limit = recipe.max_tokens
    each = [examples_of(row, tokenizer, limit, instruction) for row in rows]
    examples = [example for examples in each for example in examples]
    if not examples:
        raise TrainingDataError(f"every row is longer than {limit} tokens")
    held = encode_all(validation, tokenizer, limit, instruction)
    network = with_adapter(base, recipe, parent)
    if pause is not None:
        between_layers(network, pause)
    run = _Run(network, with_leads(network, examples), with_leads(network, held), recipe, measured)
    keeper = keeper or Forgetful()
    run.go_on_from(keeper.read())
    started = time.monotonic()
    _steps(run, report, keeper, stop)
    run.take_best()
    save_adapter(run.network, base, folder)
    left_out = sum(not examples for examples in each)
    return _trained(run, folder, len(rows) - left_out, left_out, time.monotonic() - started)


def _steps(
    run: "_Run", report: Callable[[Progress], None], keeper: Keeper, stop: Callable[[], bool]
) -> None:
    started, kept, before = time.monotonic(), time.monotonic(), run.now.step
    tokens = 0
    while not run.done:
        step = run.step()
        tokens += step.tokens
        now = time.monotonic()
        made, left = run.now.step - before, run.steps - run.now.step
        rate, seconds_left = tokens / (now - started), (now - started) / made * left
        report(
            Progress(
                run.now.step, run.steps, step.loss, step.accuracy, rate, seconds_left, step.held
            )
        )
        stopped = stop()
        if stopped or now - kept > SECONDS_BETWEEN:
            keeper.write(run.checkpoint().to_bytes())
            kept = now
        if stopped:
            raise TrainingStopped(f"stopped after step {run.now.step} of {run.steps}")


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step came to; `held` is the validation loss, where an epoch ended."""

    loss: float
    accuracy: float
    tokens: int
    held: float | None


class _Run:
    """A network in training, and how far it is."""

    def __init__(
        self,
        network: Any,
        examples: list[Example],
        held: list[Example],
        recipe: Recipe,
        measured: Told,
    ) -> None:
        self.network = network.train()
        self.examples = examples
        self._order: list[Example] = []
        self._held = held
        self._recipe = recipe
        self._measured = measured
        self._named = {
            name: weight for name, weight in network.named_parameters() if weight.requires_grad
        }
        self._optimizer = torch.optim.AdamW(
            self._named.values(), lr=recipe.learning_rate, weight_decay=0.0
        )
        self.steps = recipe.steps(len(examples))
        self.epoch_steps = recipe.steps_per_epoch(len(examples))
        self.now = Checkpoint(_digest(examples, held, recipe))

    @property
    def done(self) -> bool:
        """Whether all steps were made, or the last epochs brought nothing."""
        return self.now.step >= self.steps or self._without_gain() >= self._recipe.patience

    @property
    def best_step(self) -> int:
        """After which step the best weights were taken."""
        if not self.now.validation:
            return self.now.step
        return (self._best_epoch() + 1) * self.epoch_steps

    @property
    def validation_loss(self) -> float | None:
        """Of the best weights; None without validation rows."""
        return self.now.validation[self._best_epoch()] if self.now.validation else None

    def _best_epoch(self) -> int:
        """The one of the lowest validation loss, from 0; the last one where few rows say so."""
        losses = self.now.validation
        if len(self._held) < ENOUGH_TO_CHOOSE:
            return len(losses) - 1
        return min(range(len(losses)), key=losses.__getitem__)

    def _without_gain(self) -> int:
        losses = self.now.validation
        return len(losses) - 1 - self._best_epoch() if losses else 0

    def step(self) -> _Step:
        """Learn from one batch; at the end of an epoch, look at the validation rows."""
        batch = self._batch()
        loss, accuracy, tokens = self._learn(batch)
        self.now.step += 1
        self.now.tokens += tokens
        self.now.losses.append(loss)
        ended = self.now.step % self.epoch_steps == 0
        held = self._validate() if ended and self._held else None
        return _Step(loss, accuracy, tokens, held)

    def _batch(self) -> list[Example]:
        epoch, at = divmod(self.now.step, self.epoch_steps)
        if at == 0 or not self._order:
            self._order = list(self.examples)
            shuffled = Random(f"{self._recipe.seed} {epoch}")  # noqa: S311 (no secret is made)
            shuffled.shuffle(self._order)
        size = self._recipe.batch_size
        return self._order[at * size : (at + 1) * size]

    def _learn(self, batch: list[Example]) -> tuple[float, float, int]:
        """Mean loss and accuracy over the lessons, and tokens in all."""
        lessons = sum(example.lessons for example in batch)
        loss, right, tokens = 0.0, 0, 0
        for group in groups(batch):
            losses, hits = objective(self.network, group, self._recipe.beta)
            part = losses.sum()
            torch.autograd.backward(part / lessons)
            loss, right = loss + part.item(), right + hits
            tokens += sum(len(part.tokens) for example in group for part in example.parts)
        torch.nn.utils.clip_grad_norm_(self._named.values(), 1.0)
        for weights in self._optimizer.param_groups:
            weights["lr"] = self._recipe.learning_rate * learning_rate_share(
                self.now.step, self.steps
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss / lessons, right / lessons, tokens

    @torch.no_grad()
    def _validate(self) -> float:
        self.network.eval()
        total, done = 0.0, 0
        for group in groups(self._held):
            total += objective(self.network, group, self._recipe.beta)[0].sum().item()
            done += len(group)
            self._measured("Measuring by held-out rows", done, len(self._held))
        self.network.train()
        loss = total / sum(example.lessons for example in self._held)
        self.now.validation.append(loss)
        if not self._without_gain():
            self.now.best = _copied(self._named)
        return loss

    def checkpoint(self) -> Checkpoint:
        """All that this run is now."""
        states = {name: self._optimizer.state[weight] for name, weight in self._named.items()}
        self.now.weights = _copied(self._named)
        self.now.first = {name: state["exp_avg"] for name, state in states.items()}
        self.now.second = {name: state["exp_avg_sq"] for name, state in states.items()}
        return self.now

    def go_on_from(self, content: bytes | None) -> None:
        """Be what a checkpoint says; one of another run, or damaged, says nothing."""
        try:
            found = Checkpoint.from_bytes(content or b"")
        except ValueError:
            return
        if found.run != self.now.run:
            return
        self.now = found
        self._take(found.weights)
        for name, weight in self._named.items():
            self._optimizer.state[weight] = {
                "step": torch.tensor(float(found.step)),
                "exp_avg": found.first[name].to(weight.device),
                "exp_avg_sq": found.second[name].to(weight.device),
            }

    def take_best(self) -> None:
        """Put the best weights into the network, where validation says which they are."""
        self._take(self.now.best)

    @torch.no_grad()
    def _take(self, weights: Weights) -> None:
        for name, tensor in weights.items():
            self._named[name].copy_(tensor)


def _copied(weights: Weights) -> Weights:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def _digest(examples: list[Example], held: list[Example], recipe: Recipe) -> str:
    content = repr((recipe, examples, held)).encode()
    return hashlib.sha256(content).hexdigest()


def _trained(run: _Run, folder: Path, rows: int, left_out: int, seconds: float) -> Trained:
    losses = run.now.losses
    tail = losses[-max(len(losses) // 10, 1) :]
    return Trained(
        folder=folder,
        rows=rows,
        left_out=left_out,
        steps=run.now.step,
        best_step=run.best_step,
        loss=sum(tail) / len(tail),
        validation_loss=run.validation_loss,
        tokens=run.now.tokens,
        seconds=seconds,
        losses=losses,
        validation={
            epoch * run.epoch_steps: loss for epoch, loss in enumerate(run.now.validation, 1)
        },
    )
