"""What lists and searches show: the specialists in service, newest first, by any part of a word.

One row each, numbered as specialists are. Its `words` are id, description and tags, folded, each
sort behind a character that no text has, and a mark if everybody may see it. So one index of
trigrams answers what was searched for, by whom, and with which tag, however many there are:
FTS5 in SQLite, pg_trgm in PostgreSQL.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    column,
    delete,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    true,
)

from registry.queries import PROD
from registry.tables import aliases, specialists, versions
from registry.view import View, Visibility

SCANNED = 10_000
"""Rows looked through for one page when a word is too short for the index."""
_TRIGRAM = 3
_ID, _TAG, _PUBLIC = "\2", "\3", "\1\1\1"
_NO_TEXT = dict.fromkeys(range(0x20), " ")
listing = table("listing", column("rowid"), column("words"))


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a list: numbers of specialists, and the one after which it goes on, if it does.

    A page that ended early, because much was looked through for it, may hold few or none.
    """

    numbers: Sequence[int]
    last: int | None


def create(connection: Connection) -> None:
    """Make the table and its index in PostgreSQL; in SQLite a migration did."""
    for statement in (
        "CREATE EXTENSION IF NOT EXISTS pg_trgm",
        "CREATE TABLE listing (rowid INTEGER PRIMARY KEY, words TEXT NOT NULL)",
        "CREATE INDEX ixlisting_words ON listing USING gin (words gin_trgm_ops)",
    ):
        connection.execute(text(statement))


def words(specialist: str, card: dict[str, Any], visibility: Visibility) -> str:
    """What a specialist is found by, of a card as it is stored."""
    described, tags = card.get("description"), card.get("tags")
    parts = [_ID, specialist, "\n", described if isinstance(described, str) else "", "\n"]
    parts += [f"{_TAG}{tag}{_TAG}" for tag in (tags if isinstance(tags, list) else ())]
    parts += [_PUBLIC if visibility == Visibility.PUBLIC else ""]
    return "".join(parts).casefold()


def refresh(connection: Connection, specialist: str) -> None:
    """Show of a specialist what is in service now; nothing if nothing is."""
    number, shown, wanted = _shown(connection, specialist)
    if shown == wanted:
        return
    connection.execute(delete(listing).where(listing.c.rowid == number))
    if wanted is not None:
        connection.execute(insert(listing).values(rowid=number, words=wanted))


def is_true(connection: Connection, specialist: str) -> bool:
    """Whether of a specialist is shown what is in service now."""
    _, shown, wanted = _shown(connection, specialist)
    return shown == wanted


def _shown(connection: Connection, specialist: str) -> tuple[int, str | None, str | None]:
    """A specialist's number, the words that it is found by, and those that it should be."""
    served = and_(aliases.c.specialist == specialists.c.id, aliases.c.alias == PROD)
    statement = (
        select(specialists.c.seq, specialists.c.visibility, specialists.c.retired, versions.c.card)
        .outerjoin(aliases, served)
        .outerjoin(versions, versions.c.id == aliases.c.version)
        .where(specialists.c.id == specialist)
    )
    row = connection.execute(statement).one()
    wanted = None
    if row.card is not None and row.retired is None:
        wanted = words(specialist, json.loads(row.card), Visibility(row.visibility))
    found = connection.scalar(select(listing.c.words).where(listing.c.rowid == row.seq))
    return row.seq, found, wanted


def page(
    connection: Connection,
    view: View,
    searched: str,
    tag: str | None,
    before: int | None,
    limit: int,
) -> Found:
    """The specialists that a view shows and that fit a search, newest first.

    Args:
        connection: to the database.
        view: who looks.
        searched: words, each of which must occur in id, description or tags.
        tag: a case-folded tag that must be there, whole.
        before: the number that the last page ended with.
        limit: how many at most.
    """
    needles = searched.casefold().translate(_NO_TEXT).split()
    if tag is not None:
        needles.append(f"{_TAG}{tag.casefold().translate(_NO_TEXT)}{_TAG}")
    long = [needle for needle in needles if len(needle) >= _TRIGRAM]
    short = [needle for needle in needles if len(needle) < _TRIGRAM]
    looked = SCANNED if short else limit + 1
    rows = (
        select(listing.c.rowid, listing.c.words)
        .where(_matches(connection, long, _seen(view)))
        .where(true() if before is None else listing.c.rowid < before)
        .order_by(listing.c.rowid.desc())
        .limit(looked)
    )
    found = [
        (number, all(needle in words for needle in short))
        for number, words in connection.execute(rows)
    ]
    return _found(found, looked, limit)


def _found(looked_at: Sequence[tuple[int, bool]], looked: int, limit: int) -> Found:
    fitting = [number for number, fits in looked_at if fits]
    if len(fitting) > limit:
        return Found(fitting[:limit], fitting[limit - 1])
    return Found(fitting, looked_at[-1][0] if len(looked_at) == looked else None)


def _seen(view: View) -> Sequence[str]:
    """Of which one must occur in what a view shows; without any, all is shown."""
    return () if view.owner is None else (_PUBLIC, f"{_ID}{view.owner}/")


def _matches(
    connection: Connection, needles: Sequence[str], either: Sequence[str]
) -> ColumnElement[bool]:
    """Rows in which all needles occur, and one of the others."""
    if not needles and not either:
        return true()
    if connection.dialect.name == "sqlite":
        match = " AND ".join([*map(_quoted, needles), *_any(either)])
        # FTS5 searches by a column that has the name of its table.
        return column("listing").bool_op("MATCH")(match)
    held = [listing.c.words.contains(needle, autoescape=True) for needle in needles]
    seen = [listing.c.words.contains(mark, autoescape=True) for mark in either]
    return and_(*held, or_(*seen) if seen else literal(True))


def _any(either: Sequence[str]) -> Iterator[str]:
    if either:
        yield f"({' OR '.join(map(_quoted, either))})"


def _quoted(needle: str) -> str:
    """A string of FTS5: https://www.sqlite.org/fts5.html#fts5_strings."""
    return '"' + needle.replace('"', '""') + '"'
