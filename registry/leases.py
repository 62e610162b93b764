"""Leases: whoever reads files for long says so, and none of them is removed meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select

from registry.clock import now
from registry.database import Database
from registry.tables import leases

LONGEST = timedelta(days=1)
"""A lease of a reader that was killed ends by itself after this."""


@contextmanager
def leased(database: Database, holder: str, digest: str | None = None) -> Iterator[None]:
    """Keep a version's files, or with no digest all files, while the context is open.

    Args:
        database: the registry's.
        holder: who reads, for people.
        digest: of the version.
    """
    values = {"holder": holder, "digest": digest, "until": now() + LONGEST}
    with database.write() as connection:
        made = connection.execute(insert(leases).values(values).returning(leases.c.id)).scalar_one()
    try:
        yield
    finally:
        with database.write() as connection:
            connection.execute(delete(leases).where(leases.c.id == made))


def held(connection: Connection) -> list[str | None]:
    """Digests of the versions whose files are leased; None among them stands for all."""
    return list(connection.scalars(select(leases.c.digest).where(leases.c.until > now())))
