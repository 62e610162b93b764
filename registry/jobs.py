"""Jobs as those who ask for them see them; those who train are at `queue.py`.

What is asked of a job that is being trained takes effect when its trainer next reports.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select

from registry import queries
from registry.clock import now
from registry.database import Database
from registry.errors import Conflict, QuotaExceeded, UnknownObject
from registry.identities import new_id
from registry.job import UNDER_WAY, Event, Job, Status, Task, move, tell, to_event, to_job
from registry.paging import page
from registry.quota import UNLIMITED, Quota
from registry.reference import parse_id
from registry.tables import job_events, jobs
from registry.view import View

MOST_WAITING = 100
"""Jobs of one owner that have not ended."""


class Jobs:
    """The jobs that a view shows. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, view: View, quota: Quota = UNLIMITED) -> None:
        self._database = database
        self._view = view
        self._quota = quota

    def create(self, specialist: str, task: Task, actor: str | None = None) -> Job:
        """Ask for a training.

        Raises:
            InvalidReference: that is no specialist's id.
            NotOwned: it would be another owner's.
            UnknownObject: a file is not there.
            QuotaExceeded: the owner has as many jobs waiting as they may have.
        """
        self._view.require_own(parse_id(specialist))
        values: dict[str, Any] = {
            "id": new_id("ftjob"),
            "owner": self._view.owner,
            "actor": actor,
            "quota": self._quota.written(),
            "base": self._view.base,
            "specialist": specialist,
            "status": Status.QUEUED,
            "created": now(),
        }
        with self._database.write() as connection:
            self._require_room(connection)
            rows = self._file(connection, task.training_file)
            values["training"] = rows.content
            names = {"training_name": rows.name}
            if task.validation_file is not None:
                held = self._file(connection, task.validation_file)
                values["validation"] = held.content
                names["validation_name"] = held.name
            named = task.model_copy(update=names)
            values["task"] = named.model_dump_json(exclude_defaults=True)
            connection.execute(insert(jobs).values(values))
            row = connection.execute(select(jobs).where(jobs.c.id == values["id"])).one()
            tell(connection, row.seq, "info", f"Created fine-tuning job: {row.id}")
        return to_job(row)

    def get(self, identity: str) -> Job:
        """A job by its id.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.read() as connection:
            return to_job(self._row(connection, identity))

    def list(
        self, limit: int, after: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> tuple[Sequence[Job], bool]:
        """Some jobs, the latest first, and whether there are more.

        Args:
            limit: of how many.
            after: the id of the last one of the page before.
            metadata: what a job's must hold, to be among them.

        Raises:
            UnknownObject: there is no job `after` which to go on.
        """
        with self._database.read() as connection:
            wanted = self._seen()
            if after is not None:
                wanted &= jobs.c.seq < self._row(connection, after).seq
            statement = select(jobs).where(wanted).order_by(jobs.c.seq.desc())
            noted = (metadata or {}).items()
            with connection.execute(statement.execution_options(yield_per=100)) as rows:
                every = map(to_job, rows)
                return page((job for job in every if noted <= job.task.metadata.items()), limit)

    def cancel(self, identity: str) -> Job:
        """End a job that has not ended.

        Raises:
            UnknownObject: there is none.
            Conflict: it has ended.
        """
        return self._move(identity, (*UNDER_WAY, Status.PAUSED), Status.CANCELLED)

    def pause(self, identity: str) -> Job:
        """Let a job wait until it is resumed; it will go on from where it is.

        Raises:
            UnknownObject: there is none.
            Conflict: it has ended, or is paused.
        """
        return self._move(identity, UNDER_WAY, Status.PAUSED)

    def resume(self, identity: str) -> Job:
        """Let a paused job go on.

        Raises:
            UnknownObject: there is none.
            Conflict: it is not paused.
        """
        return self._move(identity, (Status.PAUSED,), Status.QUEUED)

    def events(
        self, identity: str, limit: int, after: str | None = None
    ) -> tuple[Sequence[Event], bool]:
        """Some of what there is to tell of a job, the latest first, and whether there is more.

        Raises:
            UnknownObject: there is no such job, or no event `after` which to go on.
        """
        with self._database.read() as connection:
            wanted = job_events.c.job == self._row(connection, identity).seq
            if after is not None:
                wanted &= job_events.c.id < _number(after)
            statement = select(job_events).where(wanted).order_by(job_events.c.id.desc())
            return page(map(to_event, connection.execute(statement.limit(limit + 1)).all()), limit)

    def _move(self, identity: str, before: Sequence[Status], after: Status) -> Job:
        with self._database.write() as connection:
            row = self._row(connection, identity)
            if row.status not in before:
                message = f"The job is {row.status} and cannot be made {after} any more."
                raise Conflict(message, "invalid_status")
            move(connection, row.seq, after)
            tell(connection, row.seq, "info", f"The job is {after}.")
            return to_job(self._row(connection, identity))

    def _row(self, connection: Connection, identity: str) -> Row[Any]:
        named = jobs.c.id == identity, self._seen()
        row = connection.execute(select(jobs).where(*named)).one_or_none()
        if row is None:
            raise UnknownObject("job", identity)
        return row

    def _seen(self) -> ColumnElement[bool]:
        own = queries.of_owner(jobs.c.owner, self._view.owner)
        return (jobs.c.base == self._view.base) & own

    def _file(self, connection: Connection, identity: str) -> Row[Any]:
        row = connection.execute(queries.file(identity, self._view.owner)).one_or_none()
        if row is None:
            raise UnknownObject("file", identity)
        return row

    def _require_room(self, connection: Connection) -> None:
        waiting = jobs.c.ended.is_(None), self._seen()
        if (connection.scalar(select(func.count()).where(*waiting)) or 0) >= MOST_WAITING:
            raise QuotaExceeded("unfinished jobs", MOST_WAITING)


def new_seed() -> int:
    """A seed for whoever gave none."""
    return secrets.randbelow(2**31)


def _number(event: str) -> int:
    prefix, _, digits = event.rpartition("-")
    if prefix != "ftevent" or not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise UnknownObject("event", event)
    return int(digits)
