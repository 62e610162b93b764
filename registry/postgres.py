"""PostgreSQL: a server's database, opened from several machines at once."""

import time
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from registry.backend import Backend
from registry.errors import StorageError
from registry.reach import Reach

_DRIVER = "postgresql+psycopg"
_CONNECT_SECONDS = 5
_WAIT = "30s"
_LOOK_SECONDS = 0.1
"""From one look at whether a server is thought away to the next."""
_LOCK = 0x6D79726961642D31
"""Its writers' advisory lock: 'myriad-1', as a number."""

Found = TypeVar("Found")


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
    reach = Reach()
    event.listen(engine, "do_connect", partial(_connect, reach))
    event.listen(engine, "connect", _require_unicode)
    event.listen(engine, "begin", _begin)
    reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    # Who makes tables writes, and writers wait for each other.
    name = f"{parsed.host or 'localhost'}/{parsed.database}"
    return Backend(engine, name, nullcontext, reading, reach)


class _Heard(psycopg.Connection[Any]):
    """A connection that is given up where its server says nothing for long."""

    reach: Reach

    def wait(
        self, gen: PQGen[Found], interval: float = _LOOK_SECONDS, timeout: float | None = None
    ) -> Found:
        """As psycopg's, which waits for ever for a server that is not gone."""
        return super().wait(self._while_heard(gen), interval, timeout)

    def _while_heard(self, asked: PQGen[Found]) -> PQGen[Found]:
        """The same steps, for as long as the server says something now and then."""
        heard = time.monotonic()
        try:
            wanted = next(asked)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.reach.patience:
                    self._give_up()
                wanted = asked.send(ready)
        except StopIteration as done:
            found: Found = done.value
            return found

    def _give_up(self) -> None:
        self.reach.lost()
        self.close()
        raise psycopg.OperationalError("its server says nothing")


def _connect(
    reach: Reach, _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
) -> _Heard:
    reach.demand()
    try:
        made = _Heard.connect(*args, **options)
    except psycopg.errors.ConnectionTimeout:
        reach.lost()
        raise
    made.reach = reach
    return made


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
