"""The queue of jobs, as those who train see it: one takes a job, is heard of, and ends it.

Who takes a job holds it for a while, and longer each time it is heard of. A holder that is not
heard of any more is given up, and another goes on from the job's last checkpoint. What holders say
of a job that they lost, or that was cancelled or paused, is not taken: `Lost` tells them to stop.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from registry.blobs import Blobs, ensure
from registry.card import Teacher
from registry.clock import now
from registry.content import Buffer
from registry.data_files import DataFile
from registry.database import Database
from registry.errors import Lost
from registry.holding import counts, is_free, is_held, later
from registry.job import UNDER_WAY, Job, Kind, Level, Status, move, tell, to_job
from registry.tables import jobs

MOST_ATTEMPTS = 5
"""So often a job is begun anew without coming as far as another checkpoint."""


class Queue:
    """The jobs of one base. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, blobs: Blobs, base: str) -> None:
        self._database = database
        self._blobs = blobs
        self._base = base

    def waits(self, most: int = 1) -> bool:
        """Whether there is a job that nobody holds, and fewer than `most` are held."""
        with self._database.read() as connection:
            found = connection.scalar(select(jobs.c.seq).where(self._free()).limit(1))
            return found is not None and self._count_held(connection) < most

    def is_others_turn(self, job: Job, most: int = 1) -> bool:
        """Whether another owner's job would be taken before one that is held, were it let go of."""
        with self._database.read() as connection:
            if self._count_held(connection) < most:
                return False
            waiting = self._waiting(connection, job)
            return bool(self._fairest(connection, waiting, job).owner != job.owner)

    def counts(self) -> dict[str, int]:
        """Jobs by how far they are, whoever asked for them."""
        with self._database.read() as connection:
            return counts(connection, jobs, self._base, Status)

    def take(self, holder: str, most: int = 1000) -> Job | None:
        """Hold the next job: one of the owner who has had least of late, the oldest of theirs.

        A holder that was lost and is back gets what it held. None when there is nothing to do, or
        `most` jobs are held by others. A job that was taken too often is failed.
        """
        with self._database.write() as connection:
            while (row := self._next(connection, holder, most)) is not None:
                if row.attempts >= MOST_ATTEMPTS:
                    _give_up(connection, row)
                    continue
                again = row.attempts > 0 or row.checkpoint is not None
                values = {"holder": holder, "until": later(), "attempts": row.attempts + 1}
                move(connection, row.seq, Status.VALIDATING, **values, began=now())
                said = "The training goes on." if again else "Validating training file."
                tell(connection, row.seq, "info", said)
                return to_job(connection.execute(_numbered(row.seq)).one())
        return None

    def hear(
        self,
        job: Job,
        holder: str,
        status: Status,
        expected: datetime | None = None,
        events: Sequence[tuple[Level, Kind, str, Mapping[str, Any]]] = (),
    ) -> None:
        """Take news of a job from its holder, who keeps it.

        Raises:
            Lost: it is not theirs any more; of one that was paused or cancelled the news are kept.
        """
        with self._database.write() as connection:
            row = _held(connection, job, holder, tuple(Status))
            for level, kind, message, data in events:
                tell(connection, job.seq, level, message, kind, data)
            if row.status in UNDER_WAY:
                changed = {"until": later(), "expected": expected or row.expected}
                move(connection, job.seq, status, **changed)
        if row.status not in UNDER_WAY:
            raise _lost(row)

    def keep(self, job: Job, holder: str, checkpoint: Buffer) -> None:
        """Keep a checkpoint in the place of the last one, of a job that was paused too.

        Raises:
            Lost: the job is not theirs any more.
        """
        blob = self._blobs.put(checkpoint)
        with self._database.write() as connection:
            _held(connection, job, holder, (*UNDER_WAY, Status.PAUSED))
            ensure(self._blobs, blob, checkpoint)
            values = {"checkpoint": blob, "attempts": 0, "until": later()}
            connection.execute(update(jobs).where(jobs.c.seq == job.seq).values(values))

    def kept(self, job: Job) -> bytes | None:
        """The last checkpoint."""
        with self._database.read() as connection:
            blob = connection.execute(_numbered(job.seq)).one().checkpoint
        return None if blob is None else self._blobs.verified(blob).read_bytes()

    def content(self, blob: str) -> bytes:
        """What a file of a job holds."""
        return self._blobs.verified(blob).read_bytes()

    def goes_on_with(
        self,
        job: Job,
        holder: str,
        rows: DataFile,
        teacher: Teacher | None,
        card: Mapping[str, Any] | None = None,
    ) -> Job:
        """Train on other rows from now on: those that a teacher gave, or that were created.

        Raises:
            Lost: the job is not theirs any more.
        """
        given = {"training_file": rows.id, "training_name": rows.name, "teacher": teacher}
        made = {} if card is None else {"card": dict(card)}
        task = job.task.model_copy(update=given | made)
        values = {
            "task": task.model_dump_json(exclude_defaults=True),
            "training": rows.content,
            "checkpoint": None,
            "attempts": 0,
        }
        with self._database.write() as connection:
            _held(connection, job, holder)
            connection.execute(update(jobs).where(jobs.c.seq == job.seq).values(values))
            return to_job(connection.execute(_numbered(job.seq)).one())

    def succeed(self, job: Job, holder: str, outcome: Mapping[str, Any]) -> None:
        """End a job that was done.

        Raises:
            Lost: it is not theirs any more.
        """
        with self._database.write() as connection:
            _held(connection, job, holder)
            move(connection, job.seq, Status.SUCCEEDED, outcome=json.dumps(outcome), holder=None)
            tell(connection, job.seq, "info", "The job has successfully completed")

    def fail(self, job: Job, holder: str, code: str, message: str, param: str | None) -> None:
        """End a job that cannot be done.

        Raises:
            Lost: it is not theirs any more.
        """
        with self._database.write() as connection:
            _held(connection, job, holder)
            _fail(connection, job.seq, code, message, param)

    def release(self, job: Job, holder: str) -> None:
        """Let go of a job, for others to go on with unless it was cancelled or paused."""
        mine = jobs.c.seq == job.seq, jobs.c.holder == holder
        with self._database.write() as connection:
            row = connection.execute(select(jobs).where(*mine)).one_or_none()
            if row is not None:
                status = Status.QUEUED if row.status in UNDER_WAY else Status(row.status)
                attempts = max(row.attempts - 1, 0)
                move(connection, row.seq, status, holder=None, until=None, attempts=attempts)

    def _free(self) -> Any:
        return and_(self._of_base(), is_free(jobs))

    def _of_base(self) -> Any:
        return and_(jobs.c.base == self._base, jobs.c.status.in_(UNDER_WAY))

    def _held_by_somebody(self) -> Any:
        return and_(self._of_base(), is_held(jobs))

    def _count_held(self, connection: Connection) -> int:
        statement = select(func.count()).where(self._held_by_somebody())
        return connection.scalar(statement) or 0

    def _next(self, connection: Connection, holder: str, most: int) -> Row[Any] | None:
        own = select(jobs).where(self._of_base(), jobs.c.holder == holder)
        if (mine := connection.execute(own).first()) is not None:
            return mine
        if self._count_held(connection) >= most:
            return None
        waiting = self._waiting(connection)
        if not waiting:
            return None
        chosen = self._fairest(connection, waiting)
        return connection.execute(_numbered(chosen.seq)).one()

    def _waiting(self, connection: Connection, released: Job | None = None) -> Sequence[Any]:
        """Jobs that nobody holds, or would not once one is let go of."""
        free = self._free() if released is None else or_(self._free(), jobs.c.seq == released.seq)
        return connection.execute(select(jobs.c.seq, jobs.c.owner).where(free)).all()

    def _fairest(
        self, connection: Connection, waiting: Sequence[Any], released: Job | None = None
    ) -> Any:
        """Of some jobs the oldest one of the owner who holds least, or got one longest ago."""
        held = select(jobs.c.owner).where(self._held_by_somebody())
        holding = Counter(connection.scalars(held))
        if released is not None:
            holding[released.owner] -= 1
        latest = select(jobs.c.owner, func.max(jobs.c.began)).group_by(jobs.c.owner)
        served = {row[0]: row[1] for row in connection.execute(latest)}

        def share(row: Row[Any]) -> tuple[int, datetime, int]:
            return holding[row.owner], served.get(row.owner) or datetime.min, row.seq

        return min(waiting, key=share)


def _numbered(seq: int) -> Any:
    return select(jobs).where(jobs.c.seq == seq)


def _held(
    connection: Connection, job: Job, holder: str, allowed: Sequence[Status] = UNDER_WAY
) -> Row[Any]:
    row = connection.execute(_numbered(job.seq)).one()
    if row.holder != holder or row.status not in allowed:
        raise _lost(row)
    return row


def _lost(row: Row[Any]) -> Lost:
    return Lost(f"The job is {row.status}, and held by {row.holder or 'nobody'}.")


def _give_up(connection: Connection, row: Row[Any]) -> None:
    message = (
        f"The training was begun {row.attempts} times and lost each time before it came to a "
        "checkpoint; memory may not suffice: try shorter rows, a smaller batch or a smaller rank."
    )
    _fail(connection, row.seq, "training_lost", message, None)


def _fail(connection: Connection, seq: int, code: str, message: str, param: str | None) -> None:
    error = {"code": code, "message": message, "param": param}
    move(connection, seq, Status.FAILED, error=json.dumps(error), holder=None)
    tell(connection, seq, "error", message)
