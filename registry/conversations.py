"""Conversations that whoever asked wanted kept: requests, answers, and what people think of them.

They are their asker's. Of a specialist's its owner sees those of their own keys, and those that
their askers gave for training; edits of answers count where they are the owner's own, or of the
base's answers the asker's.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from registry import queries
from registry.clock import as_held, aware, now
from registry.database import Database
from registry.errors import UnknownObject
from registry.paging import page
from registry.quota import UNLIMITED, Quota
from registry.rating import Rating
from registry.reference import parse_id
from registry.tables import conversations, feedback
from registry.view import View

KEPT = timedelta(days=30)
CONSENT = {"consent": "training"}
"""What the metadata of a conversation says that may be learnt from."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request and its answer.

    Attributes:
        id: the answer's.
        model: as it was asked for.
        request: its `messages`, and its `tools` if it had any.
        answer: the whole answer, as it was sent.
        metadata: whatever the asker wants to find there again.
        created: when it was answered, in UTC.
        specialist: who answered; None for the base.
        rating: what somebody thinks of it.
        correction: what is to be said in its place: by its specialist's owner, or of an answer of
            the base by its asker.
    """

    id: str
    model: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    specialist: str | None = None
    rating: Rating | None = None
    correction: str | None = None


class Conversations:
    """The conversations that a view shows. Thread-safe; methods may raise StorageError."""

    def __init__(self, database: Database, view: View, quota: Quota = UNLIMITED) -> None:
        self._database = database
        self._view = view
        self._quota = quota

    def keep(self, kept: Conversation) -> None:
        """Keep a conversation for 30 days, and as long as newer ones leave room in the quota."""
        written = {
            "request": json.dumps(kept.request),
            "answer": json.dumps(kept.answer),
            "metadata": json.dumps(kept.metadata),
        }
        values = {
            "id": kept.id,
            "owner": self._view.owner,
            "base": self._view.base,
            "specialist": kept.specialist,
            "model": kept.model,
            "created": now(),
            "nbytes": sum(map(len, written.values())),
            **written,
        }
        with self._database.write() as connection:
            connection.execute(delete(conversations).where(conversations.c.created < now() - KEPT))
            connection.execute(insert(conversations).values(values))
            self._make_room(connection)

    def get(self, identity: str) -> Conversation:
        """One of the owner's conversations.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.read() as connection:
            return _conversation(self._row(connection, identity))

    def list(
        self,
        limit: int,
        after: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        kind: str = "",
        latest_first: bool = False,
    ) -> tuple[Sequence[Conversation], bool]:
        """Some of the owner's, the oldest first unless told otherwise, and whether there are more.

        Args:
            limit: of how many.
            after: the id of the last one of the page before.
            model: as it was asked for, or who answered.
            metadata: what it must hold.
            kind: how its id begins.
            latest_first: the order.

        Raises:
            UnknownObject: there is none `after` which to go on.
        """
        order = conversations.c.seq.desc() if latest_first else conversations.c.seq
        with self._database.read() as connection:
            wanted = self._own()
            if after is not None:
                last = self._row(connection, after).seq
                seq = conversations.c.seq
                wanted &= seq < last if latest_first else seq > last
            if kind:
                wanted &= conversations.c.id.startswith(kind, autoescape=True)
            if model is not None:
                wanted &= or_(conversations.c.model == model, conversations.c.specialist == model)
            statement = _with_feedback().where(wanted).order_by(order)
            return _page(connection, statement, limit, metadata or {})

    def of_specialist(
        self,
        specialist: str,
        limit: int,
        after: str | None = None,
        *,
        ratings: Collection[Rating] = (),
        since: datetime | None = None,
        own: bool = False,
    ) -> tuple[Sequence[Conversation], bool]:
        """Some of the conversations that a specialist's owner may learn from, the oldest first.

        Args:
            specialist: its id.
            limit: of how many.
            after: the id of the last one of the page before.
            ratings: one of which it must have; none for any, or for no rating at all.
            since: when it was answered, at the earliest; in UTC, unless it names another zone.
            own: whether those that others gave are left out.

        Raises:
            NotOwned: it is another owner's.
            UnknownObject: there is none `after` which to go on.
        """
        self._view.require_own(parse_id(specialist))
        seen = self._own() if own else self._given()
        seen &= conversations.c.specialist == specialist
        return self._answered(seen, limit, after, ratings, since)

    def of_base(
        self,
        limit: int,
        after: str | None = None,
        *,
        ratings: Collection[Rating] = (),
        since: datetime | None = None,
    ) -> tuple[Sequence[Conversation], bool]:
        """Some of the owner's that the base answered, the oldest first; see `of_specialist`.

        Raises:
            UnknownObject: there is none `after` which to go on.
        """
        seen = self._own() & conversations.c.specialist.is_(None)
        return self._answered(seen, limit, after, ratings, since)

    def _answered(
        self,
        seen: ColumnElement[bool],
        limit: int,
        after: str | None,
        ratings: Collection[Rating],
        since: datetime | None,
    ) -> tuple[Sequence[Conversation], bool]:
        wanted = seen
        if ratings:
            wanted &= feedback.c.rating.in_(ratings)
        if since is not None:
            wanted &= conversations.c.created >= as_held(since)
        with self._database.read() as connection:
            if after is not None:
                named = select(conversations.c.seq).where(conversations.c.id == after, seen)
                last = connection.scalar(named)
                if last is None:
                    raise UnknownObject("conversation", after)
                wanted &= conversations.c.seq > last
            statement = _with_feedback().where(wanted)
            return _page(connection, statement.order_by(conversations.c.seq), limit, {})

    def describe(self, identity: str, metadata: Mapping[str, str]) -> Conversation:
        """Note other metadata.

        Raises:
            UnknownObject: there is no such conversation.
        """
        with self._database.write() as connection:
            seq, written = self._row(connection, identity).seq, json.dumps(metadata)
            grown = len(written) - func.length(conversations.c.metadata)
            statement = update(conversations).where(conversations.c.seq == seq)
            values = {"metadata": written, "nbytes": conversations.c.nbytes + grown}
            connection.execute(statement.values(values))
            return _conversation(self._row(connection, identity))

    def remove(self, identity: str) -> None:
        """Forget a conversation.

        Raises:
            UnknownObject: there is none.
        """
        with self._database.write() as connection:
            seq = self._row(connection, identity).seq
            connection.execute(delete(conversations).where(conversations.c.seq == seq))

    def _row(self, connection: Connection, identity: str) -> Row[Any]:
        named = conversations.c.id == identity, self._own()
        row = connection.execute(_with_feedback().where(*named)).one_or_none()
        if row is None:
            raise UnknownObject("conversation", identity)
        return row

    def _make_room(self, connection: Connection) -> None:
        """Forget the oldest of the owner's, of whatever base, beyond what they may have."""
        bound, own = self._quota.bytes, conversations.c.owner == self._view.owner
        if bound is None:
            return
        nbytes, seq = conversations.c.nbytes, conversations.c.seq
        over = connection.scalar(select(func.sum(nbytes)).where(own)) - bound
        oldest = select(seq, nbytes).where(own).order_by(seq).execution_options(yield_per=100)
        last = 0
        with connection.execute(oldest) as rows:
            while over > 0 and (row := rows.fetchone()):
                last, over = row.seq, over - row.nbytes
        connection.execute(delete(conversations).where(own, seq <= last))

    def _own(self) -> ColumnElement[bool]:
        own = queries.of_owner(conversations.c.owner, self._view.owner)
        return (conversations.c.base == self._view.base) & own

    def _given(self) -> ColumnElement[bool]:
        """The owner's own, and those of others who gave them for training."""
        [(name, value)] = CONSENT.items()
        # The metadata is JSON that `keep` wrote: such a pair stands nowhere else in it.
        pair = json.dumps({name: value})[1:-1]
        given = conversations.c.metadata.contains(pair, autoescape=True)
        return (conversations.c.base == self._view.base) & or_(self._own(), given)


def _with_feedback() -> Select[Any]:
    """Conversations with what is thought of them, if anybody said, and whose keys said it."""
    said = feedback.c.rating, feedback.c.correction, feedback.c.owner.label("editor")
    rated = feedback.c.answer == conversations.c.id
    return select(conversations, *said).join_from(conversations, feedback, rated, isouter=True)


def _page(
    connection: Connection, statement: Select[Any], limit: int, metadata: Mapping[str, str]
) -> tuple[Sequence[Conversation], bool]:
    noted = metadata.items()
    with connection.execute(statement.execution_options(yield_per=100)) as rows:
        every = map(_conversation, rows)
        return page((kept for kept in every if noted <= kept.metadata.items()), limit)


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        id=row.id,
        model=row.model,
        request=json.loads(row.request),
        answer=json.loads(row.answer),
        metadata=json.loads(row.metadata),
        created=aware(row.created),
        specialist=row.specialist,
        rating=None if row.rating is None else Rating(row.rating),
        correction=row.correction if row.editor in (None, _editor(row)) else None,
    )


def _editor(row: Row[Any]) -> str | None:
    """Whose edits count: the specialist's owner's, or of the base's answers the asker's."""
    asker: str | None = row.owner
    return asker if row.specialist is None else parse_id(row.specialist).owner
