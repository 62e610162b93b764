"""Gates: what a version must have scored before an alias is pointed to it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from registry.card import Card, Evaluation
from registry.readable import Short

LOWER_IS_BETTER = {"perplexity", "divergence", "loss", "error_rate"}
MOST = 16


class Gate(BaseModel):
    """One condition on a version's held-out scores.

    Attributes:
        metric: as in the card's evaluation.
        at_least: a number; `base`, for what the bare base scored on the same rows; `current`, for
            what the version scored on the same data that the alias points to now, if it points to
            any. Of perplexity, divergence, loss and error_rate the smaller is the better.
        tolerance: by how much it may be worse.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Short
    at_least: FiniteFloat | Literal["base", "current"] = "current"
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def failures(self, card: Card, current: Card | None) -> Iterator[str]:
        """Why a version does not pass, in sentences."""
        scores = _of(card, self.metric)
        if not scores:
            yield f"It has no held-out score of {self.metric}."
        elif self.at_least == "current":
            yield from self._against_current(scores, current)
        else:
            yield from self._against_others(scores)

    def _against_current(self, scores: list[Evaluation], current: Card | None) -> Iterator[str]:
        before = {each.data: each.value for each in _of(current, self.metric)} if current else {}
        for score in scores:
            if score.data in before:
                yield from self._compared(
                    score.value, before.pop(score.data), "the current version"
                )
        for data in before:
            yield f"It was not scored by {self.metric} on {data}, as the current version was."

    def _against_others(self, scores: list[Evaluation]) -> Iterator[str]:
        for score in scores:
            if self.at_least != "base":
                yield from self._compared(score.value, float(self.at_least), "what is asked for")
            elif score.base_value is None:
                yield f"Of {self.metric} it does not say what the bare base scores."
            else:
                yield from self._compared(score.value, score.base_value, "the bare base")

    def _compared(self, value: float, other: float, whose: str) -> Iterator[str]:
        sign = -1 if self.metric in LOWER_IS_BETTER else 1
        if sign * (value - other) < -self.tolerance:
            yield f"Its {self.metric} is {value:g}, {whose} has {other:g}."


Gates = Annotated[tuple[Gate, ...], Field(max_length=MOST)]
_GATES: TypeAdapter[tuple[Gate, ...]] = TypeAdapter(tuple[Gate, ...])


def failures(gates: Iterable[Gate], card: Card, current: Card | None) -> list[str]:
    """Why a version with this card does not pass all gates; current is where the alias is now."""
    return [reason for gate in gates for reason in gate.failures(card, current)]


def written(gates: Sequence[Gate]) -> str:
    """Gates as JSON."""
    return _GATES.dump_json(tuple(gates)).decode()


def read(text: str | None) -> tuple[Gate, ...]:
    """Gates from JSON; none from None."""
    return () if text is None else _GATES.validate_json(text)


def _of(card: Card, metric: str) -> list[Evaluation]:
    return [each for each in card.evaluation if each.metric == metric]
