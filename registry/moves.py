"""Moves of aliases, each within the caller's transaction.

An alias's moves are never changed or removed. Each names the move that a rollback returns to: going
back twice goes two moves back, and does not return to where the first rollback came from.
"""

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from registry import audit, guards, listing
from registry.clock import now
from registry.errors import Conflict
from registry.queries import of_alias
from registry.tables import aliases, canaries, changes, moves, outcomes, versions


def point(
    connection: Connection,
    specialist: str,
    alias: str,
    version: int,
    reason: str | None = None,
    overridden: str | None = None,
) -> bool:
    """Move an alias to a version; False if it is there already."""
    last = _last(connection, specialist, alias)
    if last is not None and last.version == version:
        return False
    before = None if last is None or last.version is None else last.id
    _move(connection, specialist, alias, version, before, reason, overridden)
    return True


def roll_back(
    connection: Connection, specialist: str, alias: str, reason: str | None = None
) -> None:
    """Move an alias to what it pointed at before.

    Raises:
        Conflict: it has pointed at nothing else.
    """
    last = _last(connection, specialist, alias)
    before = None if last is None or last.before is None else _by_id(connection, last.before)
    if before is None:
        raise Conflict(
            f"'{specialist}:{alias}' has pointed at nothing before; promote a version instead.",
            "nothing_before",
        )
    _move(connection, specialist, alias, before.version, before.before, reason)


def take_away(
    connection: Connection, specialist: str, alias: str, reason: str | None = None
) -> None:
    """Remove an alias; it is no longer protected, and has no gates."""
    _move(connection, specialist, alias, None, None, reason)
    guards.clear(connection, specialist, alias)


def try_out(
    connection: Connection,
    specialist: str,
    alias: str,
    version: int,
    share: float,
    **guard: float,
) -> None:
    """Give a share of the requests for an alias to another version, or none from now on (0).

    It is counted anew how the answers end; `guard` are the bounds within which they may be worse.
    """
    connection.execute(delete(canaries).where(*of_alias(canaries, specialist, alias)))
    own = select(versions.c.id).where(versions.c.specialist == specialist)
    connection.execute(delete(outcomes).where(outcomes.c.version.in_(own)))
    if share:
        named = {"specialist": specialist, "alias": alias}
        values = {"version": version, "share": share, "began": now()}
        connection.execute(insert(canaries).values(**named, **values, **guard))
    which = select(versions.c.number).where(versions.c.id == version)
    tried = {"alias": alias, "version": connection.scalar(which), "share": share}
    audit.note(connection, audit.TRIED, specialist, **tried)
    note_change(connection, specialist)


def note_change(connection: Connection, specialist: str) -> None:
    """Show, and tell those who follow the registry, that something about a specialist is new."""
    # Counted here, since a sequence would skip the numbers of what was rolled back.
    seq = (connection.scalar(select(func.max(changes.c.seq))) or 0) + 1
    connection.execute(insert(changes).values(seq=seq, specialist=specialist, created=now()))
    listing.refresh(connection, specialist)


def number(connection: Connection, specialist: str, alias: str) -> int | None:
    """The number of the version that an alias points to; None when there is no such alias."""
    statement = (
        select(versions.c.number)
        .join(aliases, aliases.c.version == versions.c.id)
        .where(*of_alias(aliases, specialist, alias))
    )
    return connection.scalar(statement)


def _move(
    connection: Connection,
    specialist: str,
    alias: str,
    version: int | None,
    before: int | None,
    reason: str | None,
    overridden: str | None = None,
) -> None:
    """Note a move, do it, and note that the specialist has changed."""
    noted = {"specialist": specialist, "alias": alias, "version": version, "reason": reason}
    more = {"before": before, "overridden": overridden, "created": now()}
    connection.execute(insert(moves).values(**noted, **more))
    _set(connection, specialist, alias, version)
    # What was tried was tried against the version that it pointed to.
    connection.execute(delete(canaries).where(*of_alias(canaries, specialist, alias)))
    to = {"alias": alias, "version": number(connection, specialist, alias)}
    said = {"reason": reason, "overridden": overridden}
    audit.note(connection, audit.MOVED, specialist, **to, **said)
    note_change(connection, specialist)


def _set(connection: Connection, specialist: str, alias: str, version: int | None) -> None:
    connection.execute(delete(aliases).where(*of_alias(aliases, specialist, alias)))
    if version is not None:
        values = {"specialist": specialist, "alias": alias, "version": version}
        connection.execute(insert(aliases).values(values))


def _last(connection: Connection, specialist: str, alias: str) -> Row[Any] | None:
    statement = select(moves).where(*of_alias(moves, specialist, alias)).order_by(moves.c.id.desc())
    return connection.execute(statement.limit(1)).one_or_none()


def _by_id(connection: Connection, move: int) -> Row[Any]:
    return connection.execute(select(moves).where(moves.c.id == move)).one()
