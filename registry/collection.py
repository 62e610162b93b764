"""Garbage: files of specialists retired long ago, and what killed or failed writers left behind.

In two steps. First versions are marked as purged: nothing finds them any longer, and for a while
their files stay for requests that did. Then files go that no other version has, and nobody leased,
while registrations wait: none can take up a file that is being removed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, or_, select, update

from registry import audit, leases
from registry.blobs import Blobs, Stored
from registry.clock import now
from registry.database import Database
from registry.location import Location
from registry.sent import sent
from registry.tables import specialists, versions

RETENTION_DAYS = 30.0
"""For so long a retired specialist can be restored, where nothing else is said."""
GRACE = timedelta(hours=1)
"""For so long files stay that nothing names: for requests and for registrations on their way."""
HELD_SECONDS = 0.5
"""For so long registrations wait in one go: a store elsewhere takes its time for each file."""
_AT_ONCE = 200
Report = Callable[[int, int], None]
"""Told of parts of the store that are done, and of how many there are."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was given up: specialists that can no longer be restored; files, and their bytes."""

    specialists: int
    files: int
    nbytes: int


def collect(
    place: Path | Location,
    retention: timedelta = timedelta(days=RETENTION_DAYS),
    grace: timedelta = GRACE,
    report: Report = lambda *_: None,
) -> Collected:
    """Collect a registry's garbage, beside running servers.

    Raises:
        StorageError: there is no registry, or it cannot be read or changed.
    """
    location = Location.of(place)
    with closing(location.known()) as database:
        return collect_from(database.by("gc"), location.blobs(), retention, grace, report)


def collect_from(
    database: Database,
    store: Blobs,
    retention: timedelta,
    grace: timedelta = GRACE,
    report: Report = lambda *_: None,
) -> Collected:
    """The same, of a registry that is open."""
    purged = _purge(database, now() - retention)
    return Collected(purged, *_remove(database, store, grace, report))


def _purge(database: Database, retired_before: datetime) -> int:
    """Mark the versions of specialists retired before a moment; returns how many specialists."""
    own = versions.c.specialist == specialists.c.id
    left = select(versions.c.id).where(own, versions.c.purged.is_(None)).exists()
    statement = select(specialists.c.id).where(specialists.c.retired < retired_before, left)
    count = 0
    while True:
        with database.write() as connection:
            found = connection.scalars(statement.limit(_AT_ONCE)).all()
            for specialist in found:
                mine = versions.c.specialist == specialist
                connection.execute(update(versions).where(mine).values(purged=now()))
                audit.note(connection, audit.PURGED, specialist)
        count += len(found)
        if not found:
            return count


def _remove(database: Database, store: Blobs, grace: timedelta, report: Report) -> tuple[int, int]:
    """Remove the files that no version needs; returns how many, and their bytes."""
    files = nbytes = 0
    shards = store.shards()
    for done, shard in enumerate(shards):
        report(done, len(shards))
        old = (blob for blob in store.stored(shard) if _is_old(blob, grace))
        for some in _batches(old):
            with database.read() as connection:
                useless = _useless(connection, some, grace)
            while useless:
                useless, gone = _remove_a_while(database, store, useless, grace)
                files, nbytes = files + len(gone), nbytes + sum(blob.nbytes for blob in gone)
    report(len(shards), len(shards))
    return files, nbytes


def _remove_a_while(
    database: Database, store: Blobs, blobs: Sequence[Stored], grace: timedelta
) -> tuple[list[Stored], list[Stored]]:
    """Remove of these what may go, for a moment; returns what is left of it, and what went."""
    gone = []
    with database.write() as connection:
        ends = time.monotonic() + HELD_SECONDS
        left = iter(_useless(connection, blobs, grace))
        for blob in left:
            # Somebody may have put it again meanwhile.
            if _is_old(store.again(blob), grace):
                store.remove(blob)
                gone.append(blob)
            if time.monotonic() >= ends:
                break
        return list(left), gone


def _useless(connection: Connection, blobs: Sequence[Stored], grace: timedelta) -> list[Stored]:
    """Of these files those that may go."""
    held = leases.held(connection)
    if None in held:
        return []
    names = {f"sha256:{blob.name}": blob for blob in blobs}
    needed = or_(
        versions.c.purged.is_(None),
        versions.c.purged > now() - grace,
        versions.c.digest.in_(held),
    )
    for column in (versions.c.config, versions.c.weights, versions.c.digest):
        for name in connection.scalars(select(column).where(column.in_(names), needed)):
            names.pop(name, None)
    for kept in sent(names):
        for name in connection.scalars(kept):
            names.pop(name, None)
    return list(names.values())


def _is_old(blob: Stored | None, grace: timedelta) -> bool:
    return blob is not None and time.time() - blob.written >= grace.total_seconds()


def _batches(blobs: Iterable[Stored]) -> Iterator[list[Stored]]:
    left = iter(blobs)
    while some := list(islice(left, _AT_ONCE)):
        yield some
