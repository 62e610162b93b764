"""What tells one specialist's requests from all others: a logistic regression on their vectors."""

from dataclasses import dataclass

import numpy as np

from router.routing.encoder import Vectors

PENALTY = 0.17
"""Of a weight's square, for vectors of length one."""
POSITIVE_WEIGHT = 10.0
"""What an own example counts, beside an example of others."""
STEPS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A linear rule, and what it was fitted against.

    Attributes:
        weights: float32 [dimensions].
        bias: what a vector of zeros scores.
        digest: the version's whose examples it was fitted to.
        against: names these examples and the ones it tells them from.
    """

    weights: Vectors
    bias: float
    digest: str
    against: str = ""

    def __call__(self, vector: Vectors) -> float:
        """How much a unit vector speaks for the specialist, as log-odds; not calibrated."""
        return float(self.weights @ vector) + self.bias


def fit(own: Vectors, others: Vectors) -> tuple[Vectors, float]:
    """Weights and bias that tell `own` rows from `others`, both float32 [rows, dimensions].

    One specialist's rule never depends on more than these, so that all can be fitted apart.
    Minimised by L-BFGS (Liu and Nocedal 1989), which gives the same for the same rows.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss

    rows = torch.from_numpy(np.concatenate([own, others]))
    wanted = torch.zeros(len(rows))
    wanted[: len(own)] = 1
    counts = torch.ones(len(rows))
    counts[: len(own)] = POSITIVE_WEIGHT
    weights = torch.zeros(rows.shape[1], requires_grad=True)
    bias = torch.full((1,), -3.0, requires_grad=True)
    # Steps are taken in units that make the curvature in weights and in the bias alike.
    unit = PENALTY**-0.5

    def step() -> torch.Tensor:
        search.zero_grad()
        scores = rows @ (weights * unit) + bias
        found = loss(scores, wanted, counts, reduction="sum") + weights.square().sum() / 2
        found.backward()  # type: ignore[no-untyped-call]
        return found

    search = torch.optim.LBFGS(
        [weights, bias], max_iter=STEPS, history_size=10, tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    search.step(step)  # type: ignore[no-untyped-call]
    return (weights.detach() * unit).numpy(), float(bias.detach())
