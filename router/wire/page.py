"""Pages of lists in OpenAI's form."""

from collections.abc import Sequence
from typing import Any


def page(found: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of objects that have ids, and whether there are more."""
    return {
        "object": "list",
        "data": list(found),
        "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None,
        "has_more": more,
    }
