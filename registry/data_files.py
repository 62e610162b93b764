"""Files that people send to be trained on: each its owner's alone, its content a blob."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, true

from registry import queries
from registry.blobs import Blobs, ensure
from registry.clock import aware, now
from registry.content import Buffer
from registry.database import Database
from registry.errors import InvalidInput, QuotaExceeded, UnknownObject
from registry.identities import new_id
from registry.paging import page
from registry.quota import UNLIMITED, Quota
from registry.tables import files

PURPOSE = "fine-tune"
REQUESTS, ANSWERS = "batch", "batch_output"
"""What files of a batch's requests, and those that it leaves, are for."""
PURPOSES = (PURPOSE, "user_data", REQUESTS)
"""For which files are sent: rows (the usual ones), what rows are made of, and requests."""
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file; `content` is its blob, `created` in UTC."""

    id: str
    owner: str | None
    name: str
    purpose: str
    content: str
    nbytes: int
    created: datetime


class DataFiles:
    """The files that an owner sees; None sees all. Thread-safe; methods may raise StorageError."""

    def __init__(
        self, database: Database, blobs: Blobs, owner: str | None, quota: Quota = UNLIMITED
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._owner = owner
        self._quota = quota

    def add(self, name: str, content: Buffer, purpose: str = PURPOSE) -> DataFile:
        """Keep a file.

        Raises:
            InvalidInput: it is empty, or its name too long.
            QuotaExceeded: the owner has as much as they may have.
        """
        if not len(content):
            raise InvalidInput("The file is empty; send rows to learn from.", "file", "empty_file")
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            message = f"Name the file, in at most {LONGEST_NAME} printable characters."
            raise InvalidInput(message, "file", "invalid_filename")
        blob = self._blobs.put(content)
        identity = new_id("file")
        values = {
            "id": identity,
            "owner": self._owner,
            "name": name,
            "purpose": purpose,
            "content": blob,
            "nbytes": len(content),
            "created": now(),
        }
        with self._database.write() as connection:
            ensure(self._blobs, blob, content)
            self._require_room(connection, len(content))
            connection.execute(insert(files).values(values))
            return _file(connection.execute(self._named(identity)).one())

    def get(self, identity: str) -> DataFile:
        """A file by its id.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(self._named(identity)).one_or_none()
        if row is None:
            raise UnknownObject("file", identity)
        return _file(row)

    def named(self, name: str, purpose: str) -> DataFile | None:
        """The latest file of a name, for a purpose; None if there is none."""
        wanted = self._seen() & (files.c.name == name) & (files.c.purpose == purpose)
        with self._database.read() as connection:
            statement = select(files).where(wanted).order_by(files.c.seq.desc()).limit(1)
            row = connection.execute(statement).one_or_none()
            return None if row is None else _file(row)

    def path(self, identity: str) -> Path:
        """Where a file's content lies on this machine.

        Raises:
            UnknownObject: there is none.
        """
        return self._blobs.verified(self.get(identity).content)

    def list(
        self,
        limit: int,
        after: str | None = None,
        purpose: str | None = None,
        *,
        oldest_first: bool = False,
    ) -> tuple[Sequence[DataFile], bool]:
        """Some files, the latest first unless told otherwise, and whether there are more.

        Raises:
            UnknownObject: there is no file `after` which to go on.
        """
        wanted = self._seen() & (true() if purpose is None else files.c.purpose == purpose)
        with self._database.read() as connection:
            if after is not None:
                last = connection.execute(self._named(after)).one_or_none()
                if last is None:
                    raise UnknownObject("file", after)
                own = files.c.seq > last.seq if oldest_first else files.c.seq < last.seq
                wanted &= own
            order = files.c.seq if oldest_first else files.c.seq.desc()
            statement = select(files).where(wanted).order_by(order).limit(limit + 1)
            return page(map(_file, connection.execute(statement).all()), limit)

    def remove(self, identity: str) -> None:
        """Forget a file; trainings that are under way keep its content until they are done.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.write() as connection:
            own = files.c.id == identity, self._seen()
            if connection.execute(delete(files).where(*own)).rowcount == 0:
                raise UnknownObject("file", identity)

    def _seen(self) -> ColumnElement[bool]:
        return queries.of_owner(files.c.owner, self._owner)

    def _named(self, identity: str) -> Any:
        return queries.file(identity, self._owner)

    def _require_room(self, connection: Any, more: int) -> None:
        bound = self._quota.bytes
        if bound is None:
            return
        used = connection.scalar(select(func.sum(files.c.nbytes)).where(self._seen())) or 0
        if used + more > bound:
            raise QuotaExceeded("bytes", bound)


def _file(row: Row[Any]) -> DataFile:
    created = aware(row.created)
    return DataFile(row.id, row.owner, row.name, row.purpose, row.content, row.nbytes, created)
