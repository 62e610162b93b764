"""The card of a specialist that was trained: what it says by itself, and what training adds."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from registry.card import Card, Dataset, Origins
from registry.readable import Example
from specialists.training.evaluate import Score
from specialists.training.lessons import Lesson
from specialists.training.spread import evenly

MAX_EXAMPLES = 160
_EXAMPLE = TypeAdapter[str](Example)


def complete(
    card: Card,
    base: str,
    base_digest: str,
    learnt: Dataset,
    rows: Sequence[Lesson],
    scores: Sequence[Score],
    *,
    publish: bool = False,
) -> Card:
    """The card after training: made for `base`, with example requests, scores and its data set.

    Training requests fill the author's examples up to MAX_EXAMPLES. What people asked is theirs:
    such requests are private, unless they are to be published.
    """
    evaluation = [
        {
            "metric": score.metric,
            "value": score.value,
            "base_value": score.base_value,
            "rows": score.rows,
            "data": score.data,
        }
        for score in scores
    ]
    fields = card.model_dump(exclude_defaults=True)
    fields |= {"base": base, "base_digest": base_digest}
    known = card.routed_by
    requests = [row.first_request for row in rows if row.routes and row.first_request not in known]
    field = "examples" if publish else "private_examples"
    own: tuple[str, ...] = getattr(card, field)
    room = MAX_EXAMPLES - len(card.examples) - len(card.private_examples)
    fields[field] = [*own, *spread(requests, room)]
    if evaluation:
        fields["evaluation"] = evaluation
    fields["origins"] = _with(card.origins or Origins(), learnt)
    return Card.of(fields)


def _with(origins: Origins, learnt: Dataset) -> dict[str, Any]:
    if learnt.digest not in {each.digest for each in origins.datasets}:
        origins = origins.model_copy(update={"datasets": (*origins.datasets, learnt)})
    return origins.model_dump(exclude_defaults=True)


def spread(requests: Sequence[str], most: int) -> list[str]:
    """Up to `most` distinct requests that a card takes, evenly spread over all."""
    distinct = [request for request in dict.fromkeys(requests) if _fits(request)]
    return evenly(distinct, most)


def _fits(request: str) -> bool:
    try:
        _EXAMPLE.validate_python(request)
    except ValidationError:
        return False
    return True
