"""Finding specialists, or those whose names are near to what was asked for."""

import difflib
from typing import Any

from sqlalchemy import Connection, Row, select

from registry import cursor as cursors
from registry import queries
from registry.errors import Conflict, UnknownSpecialist
from registry.reference import Reference
from registry.tables import specialists
from registry.view import View


def find(connection: Connection, reference: Reference, view: View) -> Row[Any]:
    """The version that a reference means, unless its specialist is retired.

    Raises:
        UnknownSpecialist: there is none; it carries up to three nearest names.
        Conflict: it is quarantined.
    """
    row = find_any(connection, reference, view)
    if row.quarantined is not None:
        message = f"'{reference}' is quarantined. {row.quarantined} An admin may release it."
        raise Conflict(message, "quarantined")
    return row


def find_any(connection: Connection, reference: Reference, view: View) -> Row[Any]:
    """The same, also where it is quarantined."""
    row = connection.execute(queries.one(reference, view)).one_or_none()
    if row is None:
        raise _unknown(connection, reference, view)
    return row


def require(connection: Connection, reference: Reference, view: View) -> None:
    """Let a specialist pass that has versions, whether or not one of them is in service.

    Raises:
        UnknownSpecialist: it has none, or is retired; it carries up to three nearest names.
    """
    if connection.execute(queries.some_version(reference.id, view)).first() is None:
        raise _unknown(connection, reference, view)


def cursor(connection: Connection, number: int) -> str:
    """The cursor of a page that ends with the specialist of this number."""
    row = select(specialists.c.id).where(specialists.c.seq == number)
    return cursors.encode(connection.execute(row).scalar_one())


def number(connection: Connection, cursor: str, view: View) -> int:
    """The number of the specialist that a page ended with.

    Raises:
        InvalidInput: no page ended so, or it did with what is no longer to be seen.
    """
    row = select(specialists.c.seq).where(specialists.c.id == cursors.decode(cursor))
    found: int | None = connection.scalar(row.where(queries.listed(view)))
    if found is None:
        raise cursors.invalid()
    return found


def nearest(connection: Connection, reference: Reference, view: View) -> list[str]:
    """Up to three ids of live specialists that are like a reference."""
    found: set[str] = set()
    for statement in queries.candidates(reference, view):
        found.update(connection.scalars(statement))
    names = sorted(found)
    alike = difflib.get_close_matches(reference.id, names, n=3, cutoff=0.5)
    return alike or difflib.get_close_matches(reference.id, names, n=3, cutoff=0.0)


def _unknown(connection: Connection, reference: Reference, view: View) -> UnknownSpecialist:
    """Nothing has this name; what does may be another alias of the same specialist."""
    own: list[str] = []
    if connection.execute(queries.some_version(reference.id, view)).first() is not None:
        found = {row.alias for row in connection.execute(queries.aliases_of(reference.id))}
        own = [reference.id] if queries.PROD in found else []
        own += [f"{reference.id}:{alias}" for alias in sorted(found - {queries.PROD})]
    return UnknownSpecialist(str(reference), own[:3] or nearest(connection, reference, view))
