"""The catalogue's database: SQLite in one file, opened by several processes at once."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from registry.errors import StorageError
from registry.private import private_file

DATABASE = "registry.db"
"""Its file in a home."""
REVISION = "0014"
_BUSY_SECONDS = 30


class Database:
    """Short read and write transactions on one SQLite file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._actor: str | None = None
        self._engine = create_engine(
            f"sqlite:///{file}", connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)

    @classmethod
    def open(cls, file: Path) -> "Database":
        """Open the file, made and brought up to date first if need be.

        Raises:
            StorageError: it cannot be used, or a newer release has written it.
        """
        database = cls(file)
        try:
            with _translated(file):
                private_file(file)
            with _translated(file), _locked(file.with_suffix(".lock")):
                database._upgrade()
        except StorageError:
            database.close()
            raise
        return database

    def by(self, actor: str | None) -> "Database":
        """The same database, whose changes are noted as those of an actor."""
        other = copy(self)
        other._actor = actor
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view. Fetch at once and leave: writers wait for it."""
        with _translated(self._file), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, durable when left; other writers wait."""
        with _translated(self._file), self._engine.connect() as connection:
            connection.execution_options(registry_writes=True, registry_actor=self._actor)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        with self.read() as connection:
            revision = _revision(connection)
        if revision == REVISION:
            return
        # Alembic takes longer to import than an up-to-date database takes to open.
        from registry.migrations.upgrade import upgrade

        with self.write() as connection:
            upgrade(connection)


def journal_mode(version: tuple[int, int, int]) -> str:
    """The journal that is safe with this SQLite: 3.7.0 to 3.51.2 can corrupt a write-ahead log."""
    return "TRUNCATE" if (3, 7, 0) <= version <= (3, 51, 2) else "WAL"


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, not by themselves
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    major, minor, patch = sqlite3.sqlite_version_info[:3]
    wanted = journal_mode((major, minor, patch))
    (mode,) = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()
    if mode.upper() != wanted:
        raise sqlite3.OperationalError(f"journal mode is {mode}, {wanted} is needed")


def _begin(connection: Connection) -> None:
    """A writer takes its lock at once: one that asks for it later may have to give up."""
    writes = connection.get_execution_options().get("registry_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, however it ends."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = getattr(error, "orig", None) or error
        raise StorageError(
            f"The registry's database {file} failed: {reason}. Nothing was changed; check that "
            "the disk has space and that the file belongs to you."
        ) from error
