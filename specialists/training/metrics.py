"""What an answer is worth beside its reference, and how sure a mean of that is."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over some rows; in 95 of 100 such samples of rows the truth is from low to high."""

    value: float
    low: float
    high: float


def same_answer(answer: str, reference: str) -> float:
    """Equality of answers up to white space at the ends: 0 or 1."""
    return float(answer.strip() == reference.strip())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, in lower case (Rajpurkar et al. 2016)."""
    got, wanted = (Counter(re.findall(r"\w+", text.lower())) for text in (answer, reference))
    shared = sum((got & wanted).values())
    return 2 * shared / (sum(got.values()) + sum(wanted.values())) if shared else 0.0


def json_valid(answer: str, _reference: str) -> float:
    """Whether an answer is a JSON object: 0 or 1."""
    return float(_object(answer) is not None)


def field_accuracy(answer: str, reference: str) -> float:
    """Of the fields of either object the share that both have, with the same value."""
    got, wanted = _object(answer) or {}, _object(reference) or {}
    fields = got.keys() | wanted.keys()
    same = sum(name in got and name in wanted and got[name] == wanted[name] for name in fields)
    return same / len(fields) if fields else 1.0


def metrics_for(references: Sequence[str]) -> Mapping[str, Callable[[str, str], float]]:
    """What answers to such references are judged by; of 1 and 0 the first is the better."""
    usual = {"exact_match": same_answer, "token_f1": token_f1}
    if references and all(_object(each) is not None for each in references):
        return usual | {"json_valid": json_valid, "field_accuracy": field_accuracy}
    return usual


def scored(
    answers: Mapping[str, Sequence[str]], references: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    """Every metric that suits the references, of everybody's answers, by their names."""
    return {
        metric: {
            name: mean([score(*pair) for pair in zip(texts, references, strict=True)])
            for name, texts in answers.items()
        }
        for metric, score in metrics_for(references).items()
    }


def mean(values: Sequence[float]) -> Estimate:
    """The mean over rows, each with the same weight."""
    return _bootstrapped(values, [1.0] * len(values), lambda mean: mean)


def ratio(sums: Sequence[float], counts: Sequence[float]) -> Estimate:
    """The mean over what each row counts of: its sum, over so many."""
    return _bootstrapped(sums, counts, lambda mean: mean)


def perplexity(surprises: Sequence[float], tokens: Sequence[int]) -> Estimate:
    """From each row's summed negative log-likelihood, in nats, and the tokens that it is over."""
    return _bootstrapped(surprises, tokens, math.exp)


def _bootstrapped(
    sums: Sequence[float], counts: Sequence[float], shown: Callable[[float], float]
) -> Estimate:
    """A ratio of sums over rows, and its percentile interval (Efron 1979); seeded."""
    over, under = np.asarray(sums, float), np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(len(over), size=(RESAMPLES, len(over)))
    ratios = over[drawn].sum(axis=1) / under[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    value = over.sum() / under.sum()
    return Estimate(shown(float(value)), shown(float(low)), shown(float(high)))


def _object(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
