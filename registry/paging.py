"""Lists a page at a time."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def page(items: Iterable[Item], limit: int) -> tuple[list[Item], bool]:
    """The first `limit` items, and whether there are more; at most one more is looked at."""
    found = list(islice(items, limit + 1))
    return found[:limit], len(found) > limit
