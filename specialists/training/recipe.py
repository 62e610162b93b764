"""Recipes: how an adapter is trained, chosen by how much there is to learn from."""

import math
from dataclasses import dataclass

from registry.effort import Effort
from registry.method import Method

EPOCHS: dict[Effort, int] = {"quick": 2, "standard": 4, "thorough": 8}
FEWEST_STEPS: dict[Effort, int] = {"quick": 30, "standard": 80, "thorough": 160}
"""Of few rows more passes are made, so that there are at least so many steps."""
MOST_EPOCHS = 20
LARGE_BATCHES = 2000
"""Rows from which batches are twice as large."""
LEARNING_RATES: dict[Method, float] = {"supervised": 1e-3, "dpo": 1e-4}


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained; the defaults suit a few hundred short rows.

    Attributes:
        rank: of every adapted linear.
        epochs: passes over the rows.
        learning_rate: at its peak, after the warm-up; it then falls along a cosine.
        batch_size: rows per step.
        max_tokens: longer rows are left out.
        patience: epochs without a better validation loss after which it is enough.
        seed: of initialisation and order.
        beta: of pairs: the larger, the nearer what is learnt stays to what was there before.
    """

    rank: int = 16
    epochs: int = 4
    learning_rate: float = 1e-3
    batch_size: int = 8
    max_tokens: int = 1024
    patience: int = 2
    seed: int = 0
    beta: float = 0.1

    def steps(self, rows: int) -> int:
        """Steps of optimisation over so many rows."""
        return self.epochs * self.steps_per_epoch(rows)

    def steps_per_epoch(self, rows: int) -> int:
        """Steps of optimisation for one pass over so many rows."""
        return math.ceil(rows / self.batch_size)


def recipe_for(
    rows: int, effort: Effort = "standard", seed: int = 0, method: Method = "supervised"
) -> Recipe:
    """What suits so many rows, with as much effort as is asked for."""
    batch = 16 if rows >= LARGE_BATCHES else 8
    passes = math.ceil(FEWEST_STEPS[effort] / max(1, math.ceil(rows / batch)))
    epochs = min(MOST_EPOCHS, max(EPOCHS[effort], passes))
    rate = LEARNING_RATES[method]
    return Recipe(epochs=epochs, batch_size=batch, seed=seed, learning_rate=rate)


def learning_rate_share(step: int, steps: int) -> float:
    """The share of the peak learning rate in a step, counted from 0."""
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
