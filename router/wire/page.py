"""Pages of lists in OpenAI's form."""

from collections.abc import Sequence
from typing import Any, Literal

Order = Literal["asc", "desc"]


def page(found: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of objects that have ids, and whether there are more."""
    return {
        "object": "list",
        "data": list(found),
        "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None,
        "has_more": more,
    }


def page_of(
    whole: Sequence[dict[str, Any]], limit: int, after: str | None, order: Order
) -> dict[str, Any]:
    """The page of a whole list that comes after an object; its first one if that is unknown."""
    found = whole if order == "asc" else whole[::-1]
    places = [at for at, each in enumerate(found, 1) if each["id"] == after]
    rest = found[places[0] if places else 0 :]
    return page(rest[:limit], more=len(rest) > limit)
