"""What tells one specialist's requests from all others: a logistic regression on their vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors

PENALTY = 0.17
"""Of a weight's square, for vectors of length one."""
POSITIVE_WEIGHT = 10.0
"""What an own example counts, beside an example of others."""
STEPS = 40
GAIN = 1e-6
"""Of the loss, below which a step was the last: products in float32 do not tell smaller ones.

To look for those took two to five times as many products, and moved no score by 0.01.
"""


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
    # Only here: it takes 70 MB, and whoever goes by a probe has no use for it.
    from scipy.optimize import minimize
    from scipy.special import expit

    rows = np.concatenate([own, others])
    signs = np.full(len(rows), -1, np.float32)
    signs[: len(own)] = 1
    counts = np.where(signs > 0, np.float32(POSITIVE_WEIGHT), np.float32(1))
    # Steps are taken in units that make the curvature in weights and in the bias alike.
    unit = np.float32(PENALTY**-0.5)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """And how it changes with the weights and the bias."""
        margins = signs * (rows @ (at[:-1].astype(np.float32) * unit) + np.float32(at[-1]))
        pull = -signs * counts * expit(-margins)
        slope = np.append(unit * (pull @ rows) + at[:-1], pull.sum())
        penalty = np.square(at[:-1]).sum() / 2
        return float((counts * np.logaddexp(0, -margins)).sum() + penalty), slope

    start = np.zeros(rows.shape[1] + 1)
    start[-1] = -3
    enough = {"maxiter": STEPS, "ftol": GAIN}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=enough)
    at = found.x.astype(np.float32)
    return at[:-1] * unit, float(at[-1])
