"""A few of many, evenly spread over all."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Up to `most` of them, evenly spread, in their order."""
    count = max(0, min(len(items), most))
    return [items[place * len(items) // count] for place in range(count)]
