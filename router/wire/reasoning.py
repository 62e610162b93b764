"""How much may be thought before an answer."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from router.wire.base import Body

Effort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"],
    Field(description="How much may be thought before the answer, by a base that does."),
]

BUDGETS: Mapping[Effort | None, int | None] = {
    "none": 0,
    "minimal": 256,
    "low": 1024,
    "medium": 8192,
}
"""Tokens of thoughts, at most; with other efforts, and without any, as many as the base likes."""


def most_thought(effort: Effort | None, budget: int | None = None) -> int | None:
    """Tokens of thoughts that an effort and a budget both allow; None is as many as one likes."""
    limits = [limit for limit in (BUDGETS.get(effort), budget) if limit is not None]
    return min(limits, default=None)


class Reasoning(Body):
    """The field `reasoning`."""

    ignored: ClassVar[frozenset[str]] = frozenset({"summary", "generate_summary"})

    effort: Effort | None = None
