"""The catalogue as it is read: which specialists exist, what their names mean, what changed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC
from typing import Any

from sqlalchemy import select

from registry import audit, listing, lookup, queries, scores
from registry.blobs import Blobs
from registry.card import UNREADABLE, Card, Evaluation, folded
from registry.database import Database
from registry.errors import InvalidInput, StorageError, UnknownSpecialist, UnreadableCard
from registry.files import AdapterFiles
from registry.manifest import Manifest
from registry.manifest import digest as digest_of
from registry.reference import Reference, like_a_reference, parse_id
from registry.tables import aliases, versions
from registry.traits import Traits
from registry.version import Canary, Change, Head, Live, Page, Version
from registry.view import View, Visibility

_MAX_SEARCH_CHARACTERS = 200
_MAX_PAGE = 1000


class Catalogue:
    """What a view shows of the specialists that fit one base. Thread-safe.

    Every method may raise StorageError.
    """

    def __init__(self, database: Database, blobs: Blobs, view: View) -> None:
        self._database = database
        self._blobs = blobs
        self._view = view

    @property
    def base(self) -> str:
        """The base that all here fit."""
        return self._view.base

    def resolve(self, reference: Reference) -> Version:
        """The version that a reference means; without alias and digest, the live one.

        Raises:
            UnknownSpecialist: there is none; it carries up to three nearest ids.
            Conflict: it is quarantined.
        """
        with self._database.read() as connection:
            row = lookup.find(connection, reference, self._view)
        return self._version(row)

    def foremost(self, specialist: str) -> Version:
        """The version to show of `owner/name`: the live one, or the newest if none is.

        Raises:
            InvalidReference: the text is no id.
            UnknownSpecialist: there is none of that name.
        """
        reference = parse_id(specialist)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            row = connection.execute(queries.one(reference, self._view)).one_or_none()
            if row is None:
                newest = queries.newest(specialist, self._view).limit(1)
                number = connection.execute(newest).one().number
                there = replace(reference, number=number)
                row = lookup.find_any(connection, there, self._view)
        return self._version(row)

    def scores(self, version: Version) -> tuple[Evaluation, ...]:
        """A version's held-out scores, the later ones in the place of those on its card."""
        with self._database.read() as connection:
            row = connection.execute(queries.by_digest(version.digest)).one()
            return scores.of(connection, row.id, version.card)

    def get(self, specialist: str) -> Version:
        """The live version of `owner/name`.

        Raises:
            InvalidReference: the text is no id.
            UnknownSpecialist: there is none of that name.
        """
        return self.resolve(parse_id(specialist))

    def versions(self, specialist: str, limit: int = _MAX_PAGE) -> list[Head]:
        """The newest versions of a specialist, oldest first; their cards are not read.

        Raises:
            InvalidReference: the text is no id.
            UnknownSpecialist: there is none of that name.
        """
        statement = queries.newest(specialist, self._view).limit(limit)
        reference = parse_id(specialist)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            rows = connection.execute(statement).all()
        return [
            Head(row.number, row.digest, row.kind, row.created.replace(tzinfo=UTC))
            for row in reversed(rows)
        ]

    def search(self, text: str | None, tag: str | None, cursor: str | None, limit: int) -> Page:
        """Live specialists, the newest first, a page at a time.

        Args:
            text: words that must all occur in id, description or tags, in any case.
            tag: a tag that must be there.
            cursor: where the last page ended.
            limit: how many at most, 1 to 1000.

        Returns:
            A page; one with a `next_cursor` may hold fewer, even none, for words of one or two
            letters that are rare.

        Raises:
            InvalidInput: the text is too long, the cursor or the limit is none.
        """
        _check_search(text, limit)
        tagged = None if tag is None else folded(tag)
        with self._database.read() as connection:
            before = None if cursor is None else lookup.number(connection, cursor, self._view)
            found = listing.page(connection, self._view, text or "", tagged, before, limit)
            rows = connection.execute(queries.numbered(found.numbers, self._view)).all()
            last = None if found.last is None else lookup.cursor(connection, found.last)
        return Page(self._versions(rows), last)

    def newest(self, limit: int = _MAX_PAGE) -> list[Live]:
        """Up to `limit` live specialists, the newest first."""
        with self._database.read() as connection:
            found = listing.page(connection, self._view, "", None, None, limit)
            rows = connection.execute(queries.numbered_heads(found.numbers, self._view)).all()
        return [_live(row) for row in rows]

    def live(self, after_id: str = "", limit: int = _MAX_PAGE) -> list[Live]:
        """Up to `limit` live specialists whose ids come after `after_id`, in that order."""
        statement = queries.live_heads(self._view).where(aliases.c.specialist > after_id)
        with self._database.read() as connection:
            rows = connection.execute(statement.limit(limit)).all()
        return [_live(row) for row in rows]

    def count(self) -> int:
        """How many specialists are live."""
        with self._database.read() as connection:
            return connection.scalar(queries.count_live(self._view)) or 0

    def nearest(self, text: str) -> list[str]:
        """Up to three ids of live specialists that are like any text, whatever its case."""
        with self._database.read() as connection:
            return lookup.nearest(connection, like_a_reference(text), self._view)

    def named(self, name: str, limit: int) -> list[str]:
        """Up to `limit` ids of live specialists with this name, whoever owns them."""
        with self._database.read() as connection:
            found = connection.scalars(queries.named(name, self._view).limit(limit))
            return list(found)

    def card(self, digest: str) -> Card:
        """The card of a version, retired or not.

        Raises:
            UnknownSpecialist: there never was such a version.
            UnreadableCard: this release cannot read it whole.
        """
        statement = select(versions.c.card).where(versions.c.digest == digest)
        with self._database.read() as connection:
            text = connection.scalar(statement)
        if text is None:
            raise UnknownSpecialist(digest)
        return Card.stored(text)

    def generation(self) -> int:
        """The number of the last change; 0 before the first. Cheap enough to ask all the time."""
        return self._database.glance(queries.LAST_CHANGE) or 0

    def stamp(self) -> str:
        """What `bears` knows this registry by later, as long as it holds all it holds now."""
        with self._database.read() as connection:
            return audit.stamp(connection)

    def bears(self, stamp: str) -> bool:
        """Whether this is the registry that gave a stamp, and no older state of it."""
        with self._database.read() as connection:
            return audit.bears(connection, stamp)

    def changes(self, after: int, limit: int = _MAX_PAGE) -> list[Change]:
        """Up to `limit` changes numbered above `after`, in order, each with what is live now."""
        statement = queries.changes_after(after, self._view).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [
            Change(row.seq, row.changed, None if row.digest is None else _live(row)) for row in rows
        ]

    def files(self, digest: str) -> AdapterFiles:
        """The files of a version, retired or not: a request in flight keeps its adapter.

        Raises:
            UnknownSpecialist: there never was such a version.
            StorageError: a file is missing or damaged; registering the same again mends it.
        """
        if (kept := self._kept(digest)) is not None:
            return self._verified(kept)
        noted = self._noted(digest)
        found = self._verified(noted)
        if digest_of(noted) == digest:
            self._blobs.put(noted.content)  # an older release's version has it from now on
        return found

    def _verified(self, made: Manifest) -> AdapterFiles:
        return AdapterFiles(self._blobs.verified(made.config), self._blobs.verified(made.weights))

    def _kept(self, digest: str) -> Manifest | None:
        """A version's manifest from its blob, which is there while the database is not."""
        try:
            return Manifest.read(self._blobs.verified(digest).read_bytes())
        except (StorageError, ValueError):
            return None

    def _noted(self, digest: str) -> Manifest:
        """The same from the database."""
        column = versions.c.digest
        with self._database.read() as connection:
            row = connection.execute(queries.made().where(column == digest)).one_or_none()
        if row is None:
            raise UnknownSpecialist(digest)
        return Manifest.of(row)

    def _versions(self, rows: Iterable[Any]) -> list[Version]:
        return [self._version(row) for row in rows]

    def _version(self, row: Any) -> Version:
        card, problem = _stored_card(row)
        return Version(
            id=row.specialist,
            number=row.number,
            digest=row.digest,
            kind=row.kind,
            card=card,
            created=row.created.replace(tzinfo=UTC),
            files=self._files(row),
            visibility=Visibility(row.visibility),
            quarantined=row.quarantined,
            problem=problem,
        )

    def _files(self, row: Any) -> AdapterFiles:
        return AdapterFiles(self._blobs.path(row.config), self._blobs.path(row.weights))


def _stored_card(row: Any) -> tuple[Card, str | None]:
    """A version's card; a bare one with the reason where this release cannot read it."""
    try:
        return Card.stored(row.card), None
    except UnreadableCard as error:
        return Card(id=row.specialist, description=UNREADABLE), error.message


def _live(row: Any) -> Live:
    return Live(
        id=row.specialist,
        number=row.number,
        digest=row.digest,
        created=row.created.replace(tzinfo=UTC),
        since=row.since.replace(tzinfo=UTC),
        visibility=Visibility(row.visibility),
        traits=Traits.stored(row.traits),
        canary=None if not row.share else Canary(row.tried_number, row.tried_digest, row.share),
    )


def _check_search(text: str | None, limit: int) -> None:
    if text is not None and len(text) > _MAX_SEARCH_CHARACTERS:
        message = f"Search for at most {_MAX_SEARCH_CHARACTERS} characters, not {len(text)}."
        raise InvalidInput(message, "search", "search_too_long")
    if not 1 <= limit <= _MAX_PAGE:
        message = f"limit must be from 1 to {_MAX_PAGE}, not {limit}."
        raise InvalidInput(message, "limit", "invalid_limit")
