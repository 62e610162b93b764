"""Copies of a whole database, into SQLite's form and out of it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Table, insert, select, text

from registry.database import Database
from registry.listing import listing
from registry.tables import leases, metadata

_AT_ONCE = 1000
_NUMBERED = {
    "versions": "id",
    "moves": "id",
    "leases": "id",
    "conversations": "seq",
    "files": "seq",
    "jobs": "seq",
    "job_events": "id",
    "batches": "seq",
}
"""Tables, and their columns whose numbers PostgreSQL counts itself."""


def into_file(database: Database, file: Path) -> None:
    """A consistent copy, whoever writes meanwhile."""
    with database.read() as connection:
        if database.dialect == "sqlite":
            live = connection.connection.driver_connection
            with closing(sqlite3.connect(file)) as copy:
                live.backup(copy)  # type: ignore[union-attr]
            return
        with closing(Database.open(file)) as target, target.write() as other:
            _copy(connection, other)


def from_file(file: Path, target: Database) -> None:
    """Fill an empty database, all or nothing."""
    with (
        closing(Database.open(file)) as source,
        source.read() as connection,
        target.write() as other,
    ):
        _copy(connection, other)
        if target.dialect == "postgresql":
            _count_on(other)


def _copy(source: Connection, target: Connection) -> None:
    for table in (*metadata.sorted_tables, listing):
        if table is leases:
            continue
        # Moves name moves before them.
        order = table.primary_key if isinstance(table, Table) else [listing.c.rowid]
        statement = select(*table.c).order_by(*order)
        for some in source.execute(statement).mappings().partitions(_AT_ONCE):
            target.execute(insert(table), [dict(row) for row in some])


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL number the next rows after those that were copied with their numbers."""
    for name, column in _NUMBERED.items():
        sequence = f"pg_get_serial_sequence('{name}', '{column}')"
        most = f"(SELECT coalesce(max({column}), 0) + 1 FROM {name})"  # noqa: S608 (our own names)
        connection.execute(text(f"SELECT setval({sequence}, {most}, false)"))
