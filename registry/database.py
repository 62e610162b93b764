"""The catalogue's database: SQLite in one file, or PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from registry.backend import Backend
from registry.errors import StorageError
from registry.sqlite import sqlite_backend

DATABASE = "registry.db"
"""Its file in a home."""
REVISION = "0025"


class Database:
    """Short read and write transactions. Thread-safe, and several processes may have it open."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._actor: str | None = None

    @classmethod
    def open(cls, file: Path) -> "Database":
        """Open an SQLite file, made and brought up to date first if need be.

        Raises:
            StorageError: it cannot be used, or a newer release has written it.
        """
        with _translated(str(file)):
            return cls._ready(sqlite_backend(file))

    @classmethod
    def connect(cls, url: str) -> "Database":
        """Open a PostgreSQL database, its tables made and brought up to date first if need be.

        Raises:
            StorageError: it cannot be used, or a newer release has written it.
        """
        # Whoever uses SQLite needs no driver of another.
        from registry.postgres import postgres_backend

        return cls._ready(postgres_backend(url))

    @classmethod
    def _ready(cls, backend: Backend) -> "Database":
        database = cls(backend)
        try:
            with _translated(backend.name), backend.alone():
                database._upgrade()
        except Exception:
            database.close()
            raise
        return database

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._backend.engine.dialect.name

    def by(self, actor: str | None) -> "Database":
        """The same database, whose changes are noted as those of an actor."""
        other = copy(self)
        other._actor = actor
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view. Fetch at once and leave: writers may wait for it."""
        with self._connected() as connection:
            connection.execution_options(**self._backend.reading)
            with connection.begin():
                yield connection

    def glance(self, statement: str) -> Any:
        """What one statement reads, null if nothing, for a quarter of what `read` costs.

        Raises:
            StorageError: the database cannot be read.
        """
        engine = self._backend.engine
        failure = engine.dialect.loaded_dbapi.Error
        with (
            _translated(self._backend.name, failure),
            self._backend.reach.looking(),
            closing(engine.raw_connection()) as pooled,
        ):
            cursor = pooled.cursor()
            cursor.execute(statement)
            row = cursor.fetchone()
        return row[0] if row else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, durable when left; other writers wait."""
        with self._backend.reach.writing(), self._connected() as connection:
            connection.execution_options(registry_writes=True, registry_actor=self._actor)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close the connections."""
        self._backend.engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with _translated(self._backend.name):
            self._backend.reach.demand()
            with self._backend.engine.connect() as connection:
                yield connection

    def _upgrade(self) -> None:
        with self.read() as connection:
            revision = _revision(connection)
        if revision == REVISION:
            return
        # Alembic takes longer to import than an up-to-date database takes to open.
        from registry.migrations.upgrade import upgrade

        with self.write() as connection:
            upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@contextmanager
def _translated(name: str, *more: type[Exception]) -> Iterator[None]:
    """Say what went wrong as a `StorageError`; `more` errors than those of all databases."""
    errors: tuple[type[Exception], ...] = (SQLAlchemyError, sqlite3.Error, OSError, *more)
    try:
        yield
    except errors as error:
        reason = getattr(error, "orig", None) or error
        raise StorageError(
            f"The registry's database {name} failed: {reason}. Nothing was changed; check that "
            "the disk has space and that the database is yours and can be reached."
        ) from error
