"""A decision as the object `routing` of an answer."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from router.composition import Result
from router.routing.decision import Decision
from router.sampling import Sampling
from router.wire.writer import usage_json


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


def steps_json(results: Sequence[Result]) -> dict[str, Any]:
    """What became of the steps before the answer, and whether the answer lacks some of them."""
    lost = [result for result in results if result.text is None]
    return {"steps": [_step(result) for result in results], "incomplete": bool(lost)}


def _step(result: Result) -> dict[str, Any]:
    decision = result.decision
    return {
        "name": result.step.name,
        "model": result.step.model,
        "specialist": decision.specialist if decision else None,
        "version": decision.version if decision else None,
        "digest": decision.digest if decision else None,
        "reason": decision.reason if decision else None,
        "content": result.text,
        "finish_reason": result.finish_reason,
        "usage": usage_json(result.usage),
        "error": result.error,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
