"""A whole registry in one file, and whether all of it is sound.

A backup is a tar file: `registry.db`, a consistent copy made while others may write, then every
blob that it names. The copy is SQLite's, whatever database the registry has, so that a backup moves
one from the one to the other. It holds private examples too, and is readable by its owner alone.
"""

import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from registry import audit, copying, listing
from registry.blobs import Blobs, sync_folder
from registry.database import DATABASE, Database
from registry.errors import StorageError, StoreFailed
from registry.leases import leased
from registry.location import Location
from registry.manifest import Manifest, digest
from registry.private import make_home
from registry.queries import made
from registry.sent import sent
from registry.tables import specialists, versions

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_AT_ONCE = 500
Report = Callable[[int, int], None]
"""Told of blobs that are done, and of how many there are."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a registry holds: versions, blobs, and the blobs' bytes."""

    versions: int
    blobs: int
    nbytes: int


def backup(place: Path | Location, file: Path, report: Report = lambda *_: None) -> Contents:
    """Write a registry into a file, whole or not at all.

    Raises:
        StorageError: it cannot be read or written, or a blob is damaged.
    """
    location = Location.of(place)
    with closing(location.known()) as database:
        return pack(database, location.blobs(), file, report)


def pack(
    database: Database, store: Blobs, file: Path, report: Report = lambda *_: None
) -> Contents:
    """The same, of a registry that is open."""
    with (
        leased(database, "backup"),
        _translated(file),
        tempfile.TemporaryDirectory(dir=file.parent) as scratch,
    ):
        copy, draft = Path(scratch, DATABASE), Path(scratch, "draft.tar")
        copying.into_file(database, copy)
        names, count = _named(copy)
        nbytes = 0
        with tarfile.open(draft, "w") as tar:
            tar.add(copy, DATABASE)
            for done, name in enumerate(names):
                report(done, len(names))
                path = store.verified(name)
                nbytes += path.stat().st_size
                tar.add(path, f"blobs/{path.parent.name}/{path.name}")
        report(len(names), len(names))
        _into_place(draft, file)
    return Contents(count, len(names), nbytes)


def restore(file: Path, place: Path | Location, report: Report = lambda *_: None) -> Contents:
    """Fill an empty place from a backup; its registry is there when everything else is.

    Raises:
        StorageError: the place has a registry, or the file is not a whole backup.
    """
    location = Location.of(place)
    _require_empty(location)
    make_home(location.home)
    with _translated(file), tempfile.TemporaryDirectory(dir=location.home) as scratch:
        database = Path(scratch, DATABASE)
        found = dict(_unpacked(file, location.blobs(), database))
        if not database.exists():
            raise StorageError(f"{file} is no backup: it has no {DATABASE}.")
        names, count = _named(database)
        report(len(found), len(names))
        missing = [name for name in names if name not in found]
        if missing:
            raise StorageError(f"{file} is not whole: {len(missing)} blobs are missing.")
        if location.database is None:
            _into_place(database, location.home / DATABASE)
        else:
            with closing(location.open()) as target:
                copying.from_file(database, target)
    return Contents(count, len(names), sum(found.values()))


def problems(place: Path | Location, report: Report = lambda *_: None) -> Iterator[str]:
    """All that is wrong with a registry, in sentences.

    Raises:
        StorageError: its database cannot be read, or its files' store not be asked.
    """
    location = Location.of(place)
    with closing(location.known()) as database:
        yield from check(database, location.blobs(), report)


def check(database: Database, store: Blobs, report: Report = lambda *_: None) -> Iterator[str]:
    """The same, of a registry that is open."""
    yield from _corruption(database)
    yield from audit.problems(database)
    yield from _false_versions(database)
    yield from _false_lists(database)
    with database.read() as connection:
        names = _blobs_of(connection)
    for done, name in enumerate(names):
        report(done, len(names))
        try:
            store.verified(name)
        except StoreFailed:
            # Of a store that cannot be asked nothing is known to be wrong.
            raise
        except StorageError as error:
            yield error.message
    report(len(names), len(names))


def audit_problems(place: Path | Location, head: str | None = None) -> Iterator[str]:
    """What is wrong with a registry's audit log; see `audit.problems`.

    Raises:
        StorageError: there is no registry, or its database cannot be read.
    """
    with closing(Location.of(place).known()) as database:
        yield from audit.problems(database, head)


def audit_log(
    place: Path | Location, limit: int, specialist: str | None = None
) -> list[audit.Entry]:
    """The last entries of a registry's audit log, oldest first.

    Raises:
        StorageError: there is no registry, or its database cannot be read.
    """
    with closing(Location.of(place).known()) as database, database.read() as connection:
        return audit.last(connection, limit, specialist)


def _corruption(database: Database) -> Iterator[str]:
    if database.dialect == "sqlite":
        with database.read() as connection:
            said = list(connection.scalars(text("PRAGMA integrity_check")))
        yield from (each for each in said if each != "ok")


def _false_versions(database: Database) -> Iterator[str]:
    for row in _pages(database, made(), versions.c.id):
        # A base that was never served with this release has no digest to compare with.
        if row.base_digest is not None and digest(Manifest.of(row)) != row.digest:
            yield f"{row.specialist}@{row.number} is not what its digest says."


def _false_lists(database: Database) -> Iterator[str]:
    for row in _pages(database, select(specialists.c.seq, specialists.c.id), specialists.c.seq):
        with database.read() as connection:
            if not listing.is_true(connection, row.id):
                yield f"{row.id} is listed otherwise than it is."


def _pages(database: Database, statement: Select[Any], key: Any) -> Iterator[Any]:
    """All rows, in the order of a numeric key; no transaction is open between them."""
    last = -1
    while True:
        with database.read() as connection:
            page = statement.where(key > last).order_by(key).limit(_AT_ONCE)
            rows = connection.execute(page).all()
        yield from rows
        if not rows:
            return
        last = rows[-1][0]


def _named(file: Path) -> tuple[list[str], int]:
    """The blobs that a copy of a database names, and its versions."""
    with closing(Database.open(file)) as database, database.read() as connection:
        count = connection.scalar(select(func.count()).select_from(versions)) or 0
        return _blobs_of(connection), count


def _blobs_of(connection: Connection) -> list[str]:
    kept = versions.c.purged.is_(None)
    config, weights = (select(each).where(kept) for each in (versions.c.config, versions.c.weights))
    return sorted(connection.scalars(config.union(weights, *sent())))


def _require_empty(location: Location) -> None:
    if location.is_new:
        return
    with closing(location.open()) as database, database.read() as connection:
        used = connection.scalar(select(func.count()).select_from(versions))
    if location.database is None or used:
        raise StorageError(f"{location.home} has a registry; restore into another home.")


def _unpacked(file: Path, store: Blobs, database: Path) -> Iterator[tuple[str, int]]:
    """Store a backup's blobs, and its database beside them; digest and bytes of each blob."""
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            blob = _BLOB.fullmatch(member.name)
            if content is None or not (blob or member.name == DATABASE):
                raise StorageError(f"{file} is no backup: it holds {member.name[:80]!a}.")
            if blob is None:
                with database.open("wb") as opened:
                    shutil.copyfileobj(content, opened)
                continue
            name = store.put(content.read())
            if name != f"sha256:{blob[2]}":
                raise StorageError(f"{file} is damaged: {blob[2]} has other content.")
            yield name, member.size


def _into_place(draft: Path, file: Path) -> None:
    """Rename once all is on the disk, readable by the owner alone."""
    draft.chmod(0o600)
    with draft.open("rb") as opened:
        os.fsync(opened.fileno())
    draft.replace(file)
    sync_folder(file.parent)


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, tarfile.TarError, OSError) as error:
        raise StorageError(f"{file} cannot be used: {error}.") from error
