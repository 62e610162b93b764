"""A network in training, step by step, and how far it is."""

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from specialists.progress import Progress
from specialists.training.checkpoint import Checkpoint, Weights
from specialists.training.encoding import Example
from specialists.training.objective import objective
from specialists.training.packing import groups
from specialists.training.recipe import Recipe, learning_rate_share

ENOUGH_TO_CHOOSE = 10
"""Validation rows by which it is told when training was best: of fewer, chance says that."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step came to; `held` is the validation loss, where an epoch ended."""

    loss: float
    accuracy: float
    tokens: int
    held: float | None


class Learner:
    """A network in training, and how far it is."""

    def __init__(
        self,
        network: Any,
        examples: list[Example],
        held: list[Example],
        recipe: Recipe,
        measured: Progress,
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
            self._named.values(), lr=recipe.learning_rate, weight_decay=0.0, fused=True
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

    def step(self) -> Step:
        """Learn from one batch; at the end of an epoch, look at the validation rows."""
        batch = self._batch()
        loss, accuracy, tokens = self._learn(batch)
        self.now.step += 1
        self.now.tokens += tokens
        self.now.losses.append(loss)
        ended = self.now.step % self.epoch_steps == 0
        held = self._validate() if ended and self._held else None
        return Step(loss, accuracy, tokens, held)

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
                "step": torch.tensor(float(found.step), device=weight.device),
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
