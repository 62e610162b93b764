"""Batches as those who answer their requests see them: in turns, for as long as they are heard of.

Who takes a batch holds it for a while, and longer each time it is heard of. A holder that is not
heard of any more is given up, and another goes on with the requests that have no answer yet.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from registry.batch import UNDER_WAY, Answer, Batch, Problem, Status, to_batch, written
from registry.blobs import Blobs
from registry.clock import now
from registry.database import Database
from registry.errors import Lost
from registry.holding import counts, is_free, is_held, later
from registry.tables import batch_answers, batches

_AT_ONCE = 100


class BatchQueue:
    """The batches of one base. Thread-safe; every method may raise StorageError."""

    def __init__(self, database: Database, blobs: Blobs, base: str) -> None:
        self._database = database
        self._blobs = blobs
        self._base = base

    def waits(self) -> bool:
        """Whether there is a batch that nobody holds."""
        with self._database.read() as connection:
            found = connection.scalar(select(batches.c.seq).where(self._free()).limit(1))
            return found is not None

    def counts(self) -> dict[str, int]:
        """Batches by how far they are, whoever asked for them."""
        with self._database.read() as connection:
            return counts(connection, batches, self._base, Status)

    def take(self, holder: str) -> Batch | None:
        """Hold the next batch: of the owner who holds least, or had a turn longest ago."""
        with self._database.write() as connection:
            waiting = connection.execute(select(batches).where(self._free())).all()
            if not waiting:
                return None
            chosen = self._fairest(connection, waiting)
            _change(connection, chosen.seq, holder=holder, until=later(), turn=now())
            return to_batch(_row(connection, chosen.seq))

    def requests(self, batch: Batch) -> Path:
        """The file of its requests."""
        return self._blobs.verified(batch.content)

    def answered(self, batch: Batch) -> set[int]:
        """The numbers of the lines that have an answer."""
        of_it = batch_answers.c.batch == batch.seq
        with self._database.read() as connection:
            return set(connection.scalars(select(batch_answers.c.number).where(of_it)))

    def begin(self, batch: Batch, holder: str, total: int) -> Batch:
        """Say that its requests are understood, and how many there are.

        Raises:
            Lost: it is not theirs any more.
        """
        with self._database.write() as connection:
            row = _held(connection, batch, holder)
            if row.status == Status.VALIDATING:
                values = {"status": Status.IN_PROGRESS, "began": now(), "total": total}
                _change(connection, batch.seq, **values)
            return to_batch(_row(connection, batch.seq))

    def hear(self, batch: Batch, holder: str, answers: Sequence[Answer] = ()) -> Batch:
        """Take some answers from its holder, who keeps it; gives it as it is now.

        Those that are there already stay as they are.

        Raises:
            Lost: it is not theirs any more; another answers these requests.
        """
        with self._database.write() as connection:
            row = _held(connection, batch, holder)
            new = _new(connection, batch, answers)
            if new:
                connection.execute(insert(batch_answers), [_values(batch, each) for each in new])
            counts = {
                "completed": row.completed + sum(not each.failed for each in new),
                "failed": row.failed + sum(each.failed for each in new),
                "nbytes": row.nbytes + sum(len(each.text) for each in new),
            }
            _change(connection, batch.seq, until=later(), **counts)
            return to_batch(_row(connection, batch.seq))

    def answers(self, batch: Batch, *, failed: bool) -> Iterator[str]:
        """The lines of its answers, or of its refusals, in the order of the requests."""
        chosen = batch_answers.c.batch == batch.seq, batch_answers.c.failed == failed
        statement = select(batch_answers.c.answer).where(*chosen).order_by(batch_answers.c.number)
        options = {"yield_per": _AT_ONCE}
        with (
            self._database.read() as connection,
            connection.execute(statement.execution_options(**options)) as rows,
        ):
            yield from rows.scalars()

    def finish(self, batch: Batch, holder: str) -> Batch:
        """Say that only its files are missing.

        Raises:
            Lost: it is not theirs any more.
        """
        with self._database.write() as connection:
            row = _held(connection, batch, holder)
            if row.status == Status.IN_PROGRESS:
                _change(connection, batch.seq, status=Status.FINALIZING, finishing=now())
            return to_batch(_row(connection, batch.seq))

    def end(
        self,
        batch: Batch,
        holder: str,
        status: Status,
        output: str | None = None,
        failures: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        """End it with its files, which hold what was kept of it until now.

        Raises:
            Lost: it is not theirs any more.
        """
        ended = {"status": status, "ended": now(), "holder": None, "until": None}
        files = {"output": output, "failures": failures}
        with self._database.write() as connection:
            _held(connection, batch, holder)
            _change(connection, batch.seq, **ended, **files, problems=written(problems))
            connection.execute(delete(batch_answers).where(batch_answers.c.batch == batch.seq))

    def release(self, batch: Batch, holder: str) -> None:
        """Let go of it, for others to go on with."""
        mine = batches.c.seq == batch.seq, batches.c.holder == holder
        with self._database.write() as connection:
            connection.execute(update(batches).where(*mine).values(holder=None, until=None))

    def _of_base(self) -> ColumnElement[bool]:
        return (batches.c.base == self._base) & batches.c.status.in_(UNDER_WAY)

    def _free(self) -> ColumnElement[bool]:
        return self._of_base() & is_free(batches)

    def _fairest(self, connection: Connection, waiting: Sequence[Row[Any]]) -> Row[Any]:
        held = self._of_base() & is_held(batches)
        holding = Counter(connection.scalars(select(batches.c.owner).where(held)))
        latest = select(batches.c.owner, func.max(batches.c.turn)).where(self._of_base())
        rows = connection.execute(latest.group_by(batches.c.owner))
        served = {owner: turn or datetime.min for owner, turn in rows}

        def share(row: Row[Any]) -> tuple[int, datetime, datetime, int]:
            own = row.turn or datetime.min
            return holding[row.owner], served[row.owner], own, row.seq

        return min(waiting, key=share)


def _row(connection: Connection, seq: int) -> Row[Any]:
    return connection.execute(select(batches).where(batches.c.seq == seq)).one()


def _held(connection: Connection, batch: Batch, holder: str) -> Row[Any]:
    row = _row(connection, batch.seq)
    if row.holder != holder or row.status not in UNDER_WAY:
        raise Lost(f"The batch is {row.status}, and held by {row.holder or 'nobody'}.")
    return row


def _change(connection: Connection, seq: int, **values: object) -> None:
    connection.execute(update(batches).where(batches.c.seq == seq).values(values))


def _new(connection: Connection, batch: Batch, answers: Sequence[Answer]) -> list[Answer]:
    """Those that are not there: what was told may be told again, if nobody said that it was."""
    numbers = [each.number for each in answers]
    same = batch_answers.c.batch == batch.seq, batch_answers.c.number.in_(numbers)
    known = set(connection.scalars(select(batch_answers.c.number).where(*same)))
    return [each for each in answers if each.number not in known]


def _values(batch: Batch, answer: Answer) -> dict[str, object]:
    return {
        "batch": batch.seq,
        "number": answer.number,
        "failed": answer.failed,
        "answer": answer.text,
    }
