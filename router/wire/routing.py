"""A decision as the object `routing` of an answer."""

from dataclasses import asdict
from typing import Any

from router.routing.decision import Decision
from router.sampling import Sampling


def answered(decision: Decision, sampling: Sampling) -> dict[str, Any]:
    """The object that answers carry: the decision, and the sampling that was applied."""
    return routing(decision) | {"sampling": sampling.set}


def routing(decision: Decision) -> dict[str, Any]:
    """Who answers, why, and who else was considered."""
    return {
        "specialist": decision.specialist,
        "version": decision.version,
        "digest": decision.digest,
        "score": decision.score,
        "reason": decision.reason,
        "candidates": [asdict(candidate) for candidate in decision.candidates],
        "base": _rounded(decision.evidence.base if decision.evidence else None),
        "margin": _rounded(decision.margin),
        "rule": decision.rule,
        "milliseconds": _rounded(decision.milliseconds),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
