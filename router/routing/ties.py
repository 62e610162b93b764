"""Who goes first of specialists that are equally likely: by their cards, and by where they are.

Nobody can gain much by it: what is claimed in a card counts only beside what is as likely anyway.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from registry.gates import LOWER_IS_BETTER
from registry.traits import Traits
from router.routing.route import Route

Reason = Literal["quality", "warmth", "price"]
Warm = Callable[[str], bool]
"""Whether an adapter, named by its version's digest, is known to be in an engine's memory."""


def winner(routes: Sequence[Route], warm: Warm) -> tuple[int, Reason | None]:
    """Which of some routes, likeliest first, goes before the first, and why; 0 and None for none.

    One that scored better on the same held-out data; else one that is in memory where the likeliest
    is not; else one that costs less.
    """
    best, *others = routes
    better: dict[Reason, Callable[[Route], bool]] = {
        "quality": lambda other: is_better(other.traits, best.traits),
        "warmth": lambda other: warm(other.digest) and not warm(best.digest),
        "price": lambda other: is_cheaper(other.traits, best.traits),
    }
    for reason, holds in better.items():
        for at, other in enumerate(others, 1):
            if holds(other) and not is_better(best.traits, other.traits):
                return at, reason
    return 0, None


def is_better(one: Traits, other: Traits) -> bool:
    """Whether one scored better than another by some metric on the same data, and worse by none."""
    theirs = {(metric, data): value for metric, data, value in other.scores}
    gains = [
        (theirs[metric, data] - value) * (1 if metric in LOWER_IS_BETTER else -1)
        for metric, data, value in one.scores
        if (metric, data) in theirs
    ]
    return bool(gains) and min(gains) >= 0 and max(gains) > 0


def is_cheaper(one: Traits, other: Traits) -> bool:
    """Whether both say what they cost, and one costs less."""
    return one.price is not None and other.price is not None and one.price < other.price
