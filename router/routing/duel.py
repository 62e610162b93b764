"""The likeliest few compared among themselves alone, by their examples around a request."""

from collections.abc import Sequence

import numpy as np

from router.routing.encoder import Vectors
from router.routing.index import nearest_rows

RIVALS = 3
EXAMPLES = 40
"""Of each rival, the ones nearest to the request."""
RIDGE = 0.03
WEIGHT = 8.0
"""What a vote for one and against the others is worth in log-odds."""


def votes(query: Vectors, rivals: Sequence[Vectors]) -> Vectors:
    """How much each rival's examples claim a request, float32 [rivals], summing up to zero.

    Kernel ridge regression (Saunders et al. 1998) on which rival an example is of: what they have
    in common, which is most where they are much alike, falls out.

    Args:
        query: unit vector, float32 [dimensions].
        rivals: each one's examples, float32 [at least 1, dimensions].
    """
    near = [nearest_rows(rows, query, EXAMPLES) for rows in rivals]
    whose = np.repeat(np.arange(len(near)), [len(rows) for rows in near])
    centre = np.stack([rows.mean(axis=0) for rows in near]).mean(axis=0)
    rows = np.concatenate(near) - centre
    sizes = np.bincount(whose)
    # Who has more examples has no more of a say.
    ridge = np.diag(RIDGE * sizes[whose] / sizes.mean())
    claims = np.eye(len(near))[whose] - 1 / len(near)
    found: Vectors = (rows @ (query - centre)) @ np.linalg.solve(rows @ rows.T + ridge, claims)
    return found


def decided(odds: Sequence[float], claims: Vectors, evidence: Vectors) -> list[float]:
    """The rivals' log-odds after their votes; together they are as likely as before.

    Args:
        odds: before, best first.
        claims: their votes.
        evidence: how much each vote counts, from 0 to 1.
    """
    before = np.array(odds)
    moved = before + WEIGHT * claims * evidence
    total = np.logaddexp.reduce(before) - np.logaddexp.reduce(moved)
    return [float(each) for each in moved + total]
