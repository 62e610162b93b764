"""Cursors: where a page ended, in a form that invites nobody to build one."""

import base64

from registry.errors import InvalidInput, InvalidReference
from registry.reference import parse_id


def encode(specialist: str) -> str:
    """The cursor of the page that ends with this id."""
    return base64.urlsafe_b64encode(specialist.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """The id that a cursor stands for.

    Raises:
        InvalidInput: no page ended so.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return parse_id(base64.b64decode(padded, altchars=b"-_", validate=True).decode()).id
    except (ValueError, InvalidReference):
        raise invalid() from None


def invalid() -> InvalidInput:
    """What to say of a cursor that is none."""
    message = "This cursor was not issued here. Pass the last page's cursor unchanged, or none."
    return InvalidInput(message, "cursor", "invalid_cursor")
