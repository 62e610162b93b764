"""Batches as those who ask for them see them; those who answer them are at `batch_queue.py`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from registry import queries
from registry.batch import UNDER_WAY, Batch, Status, to_batch
from registry.clock import now
from registry.data_files import REQUESTS
from registry.database import Database
from registry.errors import Conflict, InvalidInput, QuotaExceeded, UnknownObject
from registry.identities import new_id
from registry.paging import page
from registry.tables import batches
from registry.view import View

MOST_WAITING = 100
"""Batches of one owner that have not ended."""


class Batches:
    """The batches that a view shows. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, view: View) -> None:
        self._database = database
        self._view = view

    def create(
        self,
        file: str,
        endpoint: str,
        metadata: Mapping[str, str] | None = None,
        actor: str | None = None,
    ) -> Batch:
        """Ask for a file's requests to be answered.

        Raises:
            UnknownObject: there is no such file.
            InvalidInput: it is there for something else.
            QuotaExceeded: the owner has as many batches waiting as they may have.
        """
        values = {
            "id": new_id("batch"),
            "owner": self._view.owner,
            "actor": actor,
            "base": self._view.base,
            "endpoint": endpoint,
            "input": file,
            "metadata": json.dumps(dict(metadata or {})),
            "status": Status.VALIDATING,
            "created": now(),
        }
        with self._database.write() as connection:
            self._require_room(connection)
            values["content"] = self._content(connection, file)
            connection.execute(insert(batches).values(values))
            return to_batch(self._row(connection, str(values["id"])))

    def get(self, identity: str) -> Batch:
        """A batch by its id.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.read() as connection:
            return to_batch(self._row(connection, identity))

    def list(self, limit: int, after: str | None = None) -> tuple[Sequence[Batch], bool]:
        """Some batches, the latest first, and whether there are more.

        Args:
            limit: of how many.
            after: the id of the last one of the page before.

        Raises:
            UnknownObject: there is no batch `after` which to go on.
        """
        with self._database.read() as connection:
            wanted = self._seen()
            if after is not None:
                wanted &= batches.c.seq < self._row(connection, after).seq
            statement = select(batches).where(wanted).order_by(batches.c.seq.desc())
            return page(map(to_batch, connection.execute(statement.limit(limit + 1)).all()), limit)

    def cancel(self, identity: str) -> Batch:
        """Have a batch ended by whoever works on it; what is answered by then is kept.

        Raises:
            UnknownObject: there is none.
            Conflict: it has ended.
        """
        with self._database.write() as connection:
            row = self._row(connection, identity)
            if row.status not in UNDER_WAY:
                raise Conflict(f"The batch is {row.status} already.", "invalid_status")
            if row.status != Status.CANCELLING:
                values = {"status": Status.CANCELLING, "cancelled": now()}
                connection.execute(update(batches).where(batches.c.seq == row.seq).values(values))
            return to_batch(self._row(connection, identity))

    def _row(self, connection: Connection, identity: str) -> Row[Any]:
        named = batches.c.id == identity, self._seen()
        row = connection.execute(select(batches).where(*named)).one_or_none()
        if row is None:
            raise UnknownObject("batch", identity)
        return row

    def _seen(self) -> ColumnElement[bool]:
        own = queries.of_owner(batches.c.owner, self._view.owner)
        return (batches.c.base == self._view.base) & own

    def _content(self, connection: Connection, file: str) -> str:
        row = connection.execute(queries.file(file, self._view.owner)).one_or_none()
        if row is None:
            raise UnknownObject("file", file)
        if row.purpose != REQUESTS:
            message = f"The file is there for '{row.purpose}'; upload it with purpose '{REQUESTS}'."
            raise InvalidInput(message, "input_file_id", "invalid_purpose")
        return str(row.content)

    def _require_room(self, connection: Connection) -> None:
        waiting = batches.c.ended.is_(None), self._seen()
        if (connection.scalar(select(func.count()).where(*waiting)) or 0) >= MOST_WAITING:
            raise QuotaExceeded("unfinished batches", MOST_WAITING)
