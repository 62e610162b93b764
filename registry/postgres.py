"""PostgreSQL: a server's database, opened from several machines at once."""

from contextlib import nullcontext
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from registry.backend import Backend
from registry.errors import StorageError

_DRIVER = "postgresql+psycopg"
_CONNECT_SECONDS = 5
_WAIT = "30s"
_LOCK = 0x6D79726961642D31
"""Its writers' advisory lock: 'myriad-1', as a number."""


def postgres_backend(url: str) -> Backend:
    """The database of a URL such as `postgresql://user:password@host/name`.

    Raises:
        StorageError: the URL is of another form.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _unusable() from None
    if parsed.get_backend_name() != "postgresql" or not parsed.database:
        raise _unusable()
    engine = create_engine(
        parsed.set(drivername=_DRIVER),
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "options": f"-c lock_timeout={_WAIT}",
            "client_encoding": "UTF8",
        },
        hide_parameters=True,
        pool_pre_ping=True,
    )
    event.listen(engine, "connect", _require_unicode)
    event.listen(engine, "begin", _begin)
    reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    # Who makes tables writes, and writers wait for each other.
    return Backend(engine, f"{parsed.host or 'localhost'}/{parsed.database}", nullcontext, reading)


def _require_unicode(connection: Any, _record: object) -> None:
    """Names and texts are of all languages."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageError(
            f"The database's encoding is {encoding}, which cannot hold all texts: "
            "create one with ENCODING 'UTF8' TEMPLATE template0."
        )


def _begin(connection: Connection) -> None:
    """Writers wait for each other: what they number has no gaps, and is seen in its order."""
    if connection.get_execution_options().get("registry_writes", False):
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def _unusable() -> StorageError:
    return StorageError("The database's URL cannot be used: write postgresql://user@host/name.")
