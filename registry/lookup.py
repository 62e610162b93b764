"""Finding live specialists, or those whose names are near to what was asked for."""

import difflib
from typing import Any

from sqlalchemy import Connection, Row

from registry import queries
from registry.errors import UnknownSpecialist
from registry.reference import Reference


def find(connection: Connection, reference: Reference, base: str) -> Row[Any]:
    """The version that a reference means, while its specialist is live.

    Raises:
        UnknownSpecialist: there is none; it carries up to three nearest ids.
    """
    row = connection.execute(queries.one(reference, base)).one_or_none()
    if row is None:
        raise UnknownSpecialist(str(reference), nearest(connection, reference, base))
    return row


def nearest(connection: Connection, reference: Reference, base: str) -> list[str]:
    """Up to three ids of live specialists that are like a reference."""
    found: set[str] = set()
    for statement in queries.candidates(reference, base):
        found.update(connection.scalars(statement))
    names = sorted(found)
    alike = difflib.get_close_matches(reference.id, names, n=3, cutoff=0.5)
    return alike or difflib.get_close_matches(reference.id, names, n=3, cutoff=0.0)
