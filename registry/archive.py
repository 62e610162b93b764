"""A whole registry in one file, and whether all of it is sound.

A backup is a tar file: `registry.db`, a consistent copy made while others may write, then every
blob that it names. It holds private examples too, and is readable by its owner alone.
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

from registry import audit
from registry.blobs import BLOBS, BlobStore, sync_folder
from registry.database import DATABASE, Database
from registry.digests import digest_bytes
from registry.errors import StorageError
from registry.leases import leased
from registry.manifest import Manifest, digest
from registry.private import make_home, private_folder

_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
Report = Callable[[int, int], None]
"""Told of blobs that are done, and of how many there are."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a registry holds: versions, blobs, and the blobs' bytes."""

    versions: int
    blobs: int
    nbytes: int


def backup(home: Path, file: Path, report: Report = lambda *_: None) -> Contents:
    """Write a home's registry into a file, whole or not at all.

    Raises:
        StorageError: it cannot be read or written, or a blob is damaged.
    """
    store = BlobStore(home / BLOBS)
    with (
        _opened(home) as database,
        leased(database, "backup"),
        _translated(file),
        tempfile.TemporaryDirectory(dir=file.parent) as scratch,
    ):
        copy, draft = Path(scratch, DATABASE), Path(scratch, "draft.tar")
        _copy_database(home / DATABASE, copy)
        with _reading(copy) as connection:
            names, versions = _blobs_of(connection), _count(connection)
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
    return Contents(versions, len(names), nbytes)


def restore(file: Path, home: Path, report: Report = lambda *_: None) -> Contents:
    """Fill a home from a backup; its registry is there when everything else is.

    Raises:
        StorageError: the home has a registry, or the file is not a whole backup.
    """
    if (home / DATABASE).exists():
        raise StorageError(f"{home} has a registry; restore into another home.")
    make_home(home)
    store = BlobStore(private_folder(home / BLOBS))
    with _translated(file), tempfile.TemporaryDirectory(dir=home) as scratch:
        database = Path(scratch, DATABASE)
        found = dict(_unpacked(file, store, database))
        if not database.exists():
            raise StorageError(f"{file} is no backup: it has no {DATABASE}.")
        with _reading(database) as connection:
            names, versions = _blobs_of(connection), _count(connection)
        report(len(found), len(names))
        missing = [name for name in names if name not in found]
        if missing:
            raise StorageError(f"{file} is not whole: {len(missing)} blobs are missing.")
        _into_place(database, home / DATABASE)
    return Contents(versions, len(names), sum(found.values()))


def problems(home: Path, report: Report = lambda *_: None) -> Iterator[str]:
    """All that is wrong with a home's registry, in sentences.

    Raises:
        StorageError: its database cannot be read.
    """
    store = BlobStore(home / BLOBS)
    with _translated(home / DATABASE), _reading(home / DATABASE) as connection:
        said = [text for (text,) in connection.execute("PRAGMA integrity_check")]
        versions = connection.execute(
            "SELECT specialist, number, versions.digest, kind, base, bases.digest, config, "
            "weights, card FROM versions LEFT JOIN bases ON bases.name = versions.base"
        ).fetchall()
        names = _blobs_of(connection)
    yield from (text for text in said if text != "ok")
    yield from audit_problems(home)
    for specialist, number, name, kind, base, base_digest, config, weights, card in versions:
        # A base that was never served with this release has no digest to compare with.
        parts = (kind, base, base_digest, config, weights, digest_bytes(card.encode()))
        if base_digest is not None and digest(Manifest(*parts)) != name:
            yield f"{specialist}@{number} is not what its digest says."
    for done, name in enumerate(names):
        report(done, len(names))
        try:
            store.verified(name)
        except StorageError as error:
            yield error.message
    report(len(names), len(names))


def audit_problems(home: Path, head: str | None = None) -> Iterator[str]:
    """What is wrong with a home's audit log; see `audit.problems`.

    Raises:
        StorageError: there is no registry, or its database cannot be read.
    """
    with _opened(home) as database, database.read() as connection:
        yield from audit.problems(connection, head)


def audit_log(home: Path, limit: int, specialist: str | None = None) -> list[audit.Entry]:
    """The last entries of a home's audit log, oldest first.

    Raises:
        StorageError: there is no registry, or its database cannot be read.
    """
    with _opened(home) as database, database.read() as connection:
        return audit.last(connection, limit, specialist)


@contextmanager
def _opened(home: Path) -> Iterator[Database]:
    if not (home / DATABASE).exists():
        raise StorageError(f"{home} has no registry yet.")
    with closing(Database.open(home / DATABASE)) as database:
        yield database


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own copy, consistent whoever writes meanwhile."""
    with _reading(source) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _blobs_of(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT config FROM versions WHERE purged IS NULL "
        "UNION SELECT weights FROM versions WHERE purged IS NULL"
    )
    return [name for (name,) in rows]


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM versions").fetchone()
    return int(count)


def _unpacked(file: Path, store: BlobStore, database: Path) -> Iterator[tuple[str, int]]:
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
