"""The audit log: who changed what, chained so that no entry can be changed or taken out unseen.

Each entry's digest is of its own content and of the digest before it. Whoever keeps the last digest
somewhere else can tell too whether entries were cut off at the end.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from registry.clock import now
from registry.database import Database
from registry.digests import digest_bytes
from registry.manifest import canonical
from registry.tables import audit

REGISTERED = "version.registered"
RETIRED, RESTORED = "specialist.retired", "specialist.restored"
PURGED = "specialist.purged"
MOVED, PROTECTED, GATED = "alias.moved", "alias.protected", "alias.gated"
TRIED, SHOWN = "canary.set", "visibility.set"
QUARANTINED, RELEASED = "version.quarantined", "version.released"
SCORED = "version.scored"
KEY_MADE, KEY_REVOKED = "key.made", "key.revoked"
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `created` is in UTC; `digest` names the entry and all before it."""

    seq: int
    created: datetime
    action: str
    specialist: str
    details: dict[str, Any]
    digest: str


def note(connection: Connection, action: str, specialist: str, **details: object) -> None:
    """Add an entry within the transaction of the change; details that are None are left out."""
    details["by"] = connection.get_execution_options().get("registry_actor")
    said = {name: value for name, value in details.items() if value is not None}
    latest = connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(1)).first()
    values: dict[str, Any] = {
        "seq": 1 if latest is None else latest.seq + 1,
        "created": now(),
        "action": action,
        "specialist": specialist,
        "details": canonical(said).decode(),
    }
    before = "" if latest is None else latest.digest
    connection.execute(insert(audit).values(**values, digest=_digest(before, **values)))


def last(
    connection: Connection, limit: int = _AT_ONCE, specialist: str | None = None
) -> list[Entry]:
    """The last entries, of one specialist or of all, oldest first."""
    statement = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if specialist is not None:
        statement = statement.where(audit.c.specialist == specialist)
    return [_entry(row) for row in connection.execute(statement)][::-1]


def stamp(connection: Connection) -> str:
    """The last entry's number and digest, which stands for all before it too."""
    latest = select(audit.c.seq, audit.c.digest).order_by(audit.c.seq.desc()).limit(1)
    row = connection.execute(latest).first()
    return "" if row is None else f"{row.seq} {row.digest}"


def bears(connection: Connection, stamp: str) -> bool:
    """Whether the log has the entry that was the last one when this stamp was given."""
    seq, _, digest = stamp.partition(" ")
    if not seq.isascii() or not seq.isdecimal():
        return False
    return connection.scalar(select(audit.c.digest).where(audit.c.seq == int(seq))) == digest


def problems(database: Database, head: str | None = None) -> Iterator[str]:
    """What is wrong with the chain, in sentences: the first entry that does not follow.

    Args:
        database: whose log it is; no transaction is open between pages of it.
        head: a digest that was the last one once; it must still be there.
    """
    before, seq, found = "", 0, head is None
    while rows := _page(database, seq):
        for row in rows:
            fields = row._asdict()
            digest = fields.pop("digest")
            if row.seq != seq + 1 or digest != _digest(before, **fields):
                yield f"Entry {seq + 1} of the audit log was changed or taken out."
                return
            before, seq, found = digest, row.seq, found or digest == head
    if not found:
        yield f"The audit log has no entry {head}; its end was cut off, or it is another log."


def as_json(entry: Entry) -> dict[str, Any]:
    """For programs."""
    return asdict(entry) | {"created": entry.created.isoformat()}


def _page(database: Database, after: int) -> Sequence[Row[Any]]:
    statement = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(_AT_ONCE)
    with database.read() as connection:
        return connection.execute(statement).all()


def _entry(row: Any) -> Entry:
    created = row.created.replace(tzinfo=UTC)
    return Entry(row.seq, created, row.action, row.specialist, json.loads(row.details), row.digest)


def _digest(
    before: str, *, seq: int, created: datetime, action: str, specialist: str, details: str
) -> str:
    content = [before, seq, created.isoformat(), action, specialist, details]
    return digest_bytes(canonical(content))
