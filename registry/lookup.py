"""Finding live specialists, or those whose names are near to what was asked for."""

import difflib

from sqlalchemy import Connection

from registry import queries
from registry.errors import UnknownSpecialist
from registry.reference import Reference


def require_live(connection: Connection, reference: Reference, base: str) -> None:
    """Let a specialist pass that is live.

    Raises:
        UnknownSpecialist: it is not; it carries up to three nearest ids.
    """
    if connection.execute(queries.one(reference, base)).first() is None:
        raise UnknownSpecialist(reference.id, nearest(connection, reference, base))


def nearest(connection: Connection, reference: Reference, base: str) -> list[str]:
    """Up to three ids of live specialists that are like a reference."""
    found: set[str] = set()
    for statement in queries.candidates(reference, base):
        found.update(connection.scalars(statement))
    names = sorted(found)
    alike = difflib.get_close_matches(reference.id, names, n=3, cutoff=0.5)
    return alike or difflib.get_close_matches(reference.id, names, n=3, cutoff=0.0)
