"""Rows of a table that somebody works on, who keeps one for as long as they are heard of.

Such a table has the columns `base`, `status`, `holder` and `until`.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from registry.clock import now

HELD_SECONDS = 20.0
"""For so long a holder that is not heard of keeps a row."""


def later() -> datetime:
    """Until when a holder that is heard of now keeps a row."""
    return now() + timedelta(seconds=HELD_SECONDS)


def is_free(table: Table) -> ColumnElement[bool]:
    """Rows that nobody holds, or whose holder was not heard of for too long."""
    return or_(table.c.holder.is_(None), table.c.until < now())


def is_held(table: Table) -> ColumnElement[bool]:
    """Rows that somebody holds."""
    return table.c.holder.is_not(None) & (table.c.until >= now())


def counts(
    connection: Connection, table: Table, base: str, statuses: Iterable[str]
) -> dict[str, int]:
    """How many rows of a base's there are of each status."""
    counted = select(table.c.status, func.count()).where(table.c.base == base)
    rows = connection.execute(counted.group_by(table.c.status)).all()
    found = {row[0]: row[1] for row in rows}
    return {status: found.get(status, 0) for status in statuses}
