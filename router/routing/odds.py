"""From how near a text is to a specialist to the odds that it is one of its requests.

The odds are against the base: at 0 the text is as likely meant for it. The constants were fitted
on validation data (docs/benchmarks/routing.md says which), once for all catalogues.
"""

from collections.abc import Sequence

import numpy as np

from router.routing.encoder import Vectors
from router.routing.index import NEIGHBOURS
from router.routing.probe import Probe

PROBE, NEAR, GENERAL, FEW, PROBED = 1.37, 7.74, -2.48, -1.68, 4.41
NEAR_ALONE, GENERAL_ALONE, ALONE = 31.1, -15.3, -7.25
LIMIT = 30.0


def log_odds(
    probe: Probe | None, vector: Vectors, near: float, general: float, examples: int
) -> float:
    """Logarithm of the odds that a request is for a specialist rather than for the base.

    Args:
        probe: the specialist's; None while it has none yet.
        vector: the request's.
        near: how near its examples are, weighed by their number, see `index.py`.
        general: how near the general requests are.
        examples: how many the specialist has.
    """
    evidence = min(examples, NEIGHBOURS) / NEIGHBOURS
    if probe is None:
        # Of few examples little is known, one way or the other.
        raw = general + (near - general) / evidence
        far = NEAR_ALONE * (raw - general)
        return evidence * min(NEAR_ALONE * raw + GENERAL_ALONE * general + ALONE, far)
    few = float(np.log2(min(examples, NEIGHBOURS)))
    return PROBE * probe(vector) + NEAR * near + GENERAL * general + FEW * few + PROBED


def probabilities(odds: Sequence[float]) -> list[float]:
    """How likely each specialist is the one that a request is for; what is left is the base's.

    Args:
        odds: the logarithms of each one's odds against the base.
    """
    exact = np.clip(np.array([*odds, 0.0]), -LIMIT, LIMIT)
    likely = np.exp(exact - exact.max())
    return [float(each) for each in likely[:-1] / likely.sum()]


def against_base(odds: float) -> float:
    """The probability that goes with odds, from 0 to 1, as if there was no other specialist."""
    return float(1 / (1 + np.exp(-np.clip(odds, -LIMIT, LIMIT))))
