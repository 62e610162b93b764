"""SQLite: one file, opened by several processes at once."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event

from registry.backend import Backend
from registry.private import private_file

_BUSY_SECONDS = 30


def sqlite_backend(file: Path) -> Backend:
    """A file, made for its owner alone when it was not there.

    Raises:
        OSError: it cannot be made.
    """
    private_file(file)
    engine = create_engine(
        f"sqlite:///{file}", connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return Backend(engine, str(file), partial(_locked, file.with_suffix(".lock")))


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


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, however it ends."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
