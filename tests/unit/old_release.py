"""A home as an older release left it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from registry.database import DATABASE
from registry.migrations.upgrade import alembic_config


def rewind(home: Path, revision: str) -> None:
    """Turn a closed registry into one of an older revision, with all of it that fits there."""
    newer, older = home / DATABASE, home / "older.db"
    engine = create_engine(f"sqlite:///{older}")
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), revision)
    engine.dispose()
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("ATTACH ? AS newer", [str(newer)])
        for table in _tables(connection):
            known = _columns(connection, "newer", table)
            ours = _columns(connection, "main", table)
            given = ", ".join(name if name in known else f"'' AS {name}" for name in ours)
            names = ", ".join(ours)
            connection.execute(
                f"INSERT INTO main.{table} ({names}) SELECT {given} FROM newer.{table}"
            )
    older.replace(newer)


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM main.sqlite_master JOIN newer.sqlite_master AS other USING (type, name) "
        "WHERE type = 'table'"
    )
    return [
        name for (name,) in found if not name.startswith(("alembic_version", "sqlite_", "listing"))
    ]


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA {schema}.table_info({table})")]
