"""The catalogue: which specialists exist, which version each alias means, what changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select

from registry import bundle, licences, listing, lookup, queries, records, scores
from registry.adapter import Limits, warnings
from registry.aliases import Aliases
from registry.base import BaseSpec
from registry.blobs import Blobs
from registry.card import UNREADABLE, Card, Evaluation, fold_tag
from registry.checking import CHECKERS
from registry.content import Buffer
from registry.database import Database
from registry.digests import digest_bytes
from registry.errors import (
    InvalidCard,
    InvalidInput,
    NotOwned,
    RegistryError,
    UnknownSpecialist,
    UnreadableCard,
)
from registry.files import AdapterFiles
from registry.keys import Keys
from registry.lineage import Lineage
from registry.location import Location
from registry.manifest import Manifest, canonical, digest
from registry.quota import UNLIMITED, Quota
from registry.reference import Reference, like_a_reference, parse_id, require_alias
from registry.tables import aliases, versions
from registry.trials import Trials
from registry.version import Canary, Change, Head, Live, Page, Version
from registry.view import View, Visibility

__all__ = ["AdapterFiles", "Change", "Head", "Live", "Page", "Registry", "Version"]

_MAX_SEARCH_CHARACTERS = 200
_MAX_PAGE = 1000


class Registry:
    """The specialists of one home folder that fit one base, as an owner or everyone sees them.

    Thread-safe, and several processes may have the same home open. Whatever a method has returned
    is on the disk, whatever happens next. Every method may raise StorageError.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        base: BaseSpec,
        limits: Limits,
        owner: str | None = None,
        quota: Quota = UNLIMITED,
    ) -> None:
        self._quota = quota
        self._view = View(base.name, owner)
        self.aliases = Aliases(database, self._view)
        """Which version each alias means, and how that is changed."""
        self.lineage = Lineage(database, self._view)
        """Where versions come from, and what stands on them."""
        self.keys = Keys(database)
        """Who may use it."""
        self.trials = Trials(database)
        """How answers fare."""
        self._database = database
        self._blobs = blobs
        self._base = base
        self._limits = limits

    @classmethod
    def open(
        cls, place: Path | Location, base: BaseSpec, limits: Limits | None = None
    ) -> "Registry":
        """Open the registry of a home, creating or upgrading it if need be.

        Raises:
            StorageError: the place cannot be used, or a newer release has written it.
            BaseChanged: the base's name stood for other weights before.
        """
        location = Location.of(place)
        database = location.open()
        try:
            blobs = location.blobs()
            with database.write() as connection:
                records.require_base(connection, base.name, base.digest)
        except RegistryError:
            database.close()
            raise
        return cls(database, blobs, base, limits or Limits())

    def seen_by(
        self, owner: str | None, actor: str | None = None, quota: Quota = UNLIMITED
    ) -> "Registry":
        """The same registry, as an owner sees it and may change it; None sees, and may, all.

        Args:
            owner: whose private specialists are there too, and alone may be changed.
            actor: by whom changes are made, for the audit log.
            quota: how much the owner may have here.
        """
        database = self._database.by(actor)
        return Registry(database, self._blobs, self._base, self._limits, owner, quota)

    def close(self) -> None:
        """Let go of the files."""
        self._database.close()

    def register(
        self,
        card: Card,
        config: bytes,
        weights: Buffer,
        alias: str | None = None,
        visibility: Visibility | None = None,
    ) -> tuple[Version, bool]:
        """Add a version of a specialist, all or nothing; a new one becomes the live one.

        Args:
            card: what it says of itself, its id included.
            config: adapter_config.json.
            weights: adapter_model.safetensors.
            alias: what points to the version from now on; without one `prod` does if the version
                is new, and nothing changes if it is not.
            visibility: who finds it; a new specialist is private unless something else is said.

        Returns:
            The version, and whether it is new: the same content keeps its number.

        Raises:
            InvalidReference: that is no alias.
            InvalidCard: it was made for another base.
            InvalidAdapter: it does not fit the base, or cannot be trusted.
            NotOwned: it would be another owner's.
            QuotaExceeded: the owner has as much as they may have.
            Conflict: the specialist is there with another visibility, or the alias refuses it.
        """
        self._view.require_own(parse_id(card.id))
        self._require_base(card)
        if alias is not None:
            require_alias(card.id, alias)
        adapter = CHECKERS.check(config, weights, self._base, self._limits)
        manifest = Manifest(
            kind=adapter.kind,
            base=self._base.name,
            base_digest=self._base.digest,
            config=self._blobs.put(canonical(adapter.config)),
            weights=self._blobs.put(weights),
            card=digest_bytes(card.canonical()),
        )
        with self._database.write() as connection:
            # Nothing is collected from here on; what was, since it was put, comes back.
            self._keep(manifest.config, canonical(adapter.config))
            self._keep(manifest.weights, weights)
            nbytes = len(config) + len(weights)
            terms, outlier = self._base.license, adapter.outlier
            wanted = records.Wanted(alias, visibility, terms, nbytes, self._quota, outlier)
            created = records.register(connection, card, manifest, wanted, self._view)
            row = connection.execute(queries.version(digest(manifest))).one()
        return self._version(row), created

    def warnings(self, config: bytes, weights: Buffer) -> list[str]:
        """What the owner of an adapter that was registered had better know."""
        return warnings(config, weights, self._base, self._limits)

    def licence_warnings(self, version: Version) -> list[str]:
        """What the licences of all that a version comes from ask for, where it lacks it."""
        return licences.warnings(version.card, self.lineage.licensed(version.digest))

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

    def score(self, reference: Reference, found: Sequence[Evaluation]) -> Version:
        """Note held-out scores of a version, which the gates before aliases go by.

        Raises:
            NotOwned: it is another owner's, if it is there.
            UnknownSpecialist: there is no such version.
        """
        self._view.require_own(reference)
        with self._database.write() as connection:
            row = lookup.find_any(connection, reference, self._view)
            scores.add(connection, row.id, row.specialist, row.number, found)
        return self._version(row)

    def scores(self, version: Version) -> tuple[Evaluation, ...]:
        """A version's held-out scores, the later ones in the place of those on its card."""
        with self._database.read() as connection:
            row = connection.execute(queries.by_digest(version.digest)).one()
            return scores.of(connection, row.id, version.card)

    def release(self, reference: Reference) -> Version:
        """Let a quarantined version be served; nothing points to it yet.

        Raises:
            NotOwned: an owner asks, who may not.
            UnknownSpecialist: there is no such version.
        """
        if self._view.owner is not None:
            raise NotOwned(reference.id, self._view.owner)
        with self._database.write() as connection:
            row = lookup.find_any(connection, reference, self._view)
            records.release(connection, row)
            row = lookup.find(connection, reference, self._view)
        return self._version(row)

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

    def retire(self, specialist: str) -> None:
        """Stop resolving, listing and routing to a specialist; requests in flight finish.

        Raises:
            InvalidReference: the text is no id.
            NotOwned: it is another owner's, if it is there.
            UnknownSpecialist: there is none of that name.
        """
        reference = parse_id(specialist)
        self._view.require_own(reference)
        with self._database.write() as connection:
            lookup.require(connection, reference, self._view)
            records.retire(connection, reference.id)

    def restore(self, specialist: str) -> None:
        """Bring a retired specialist back as it was, its aliases, gates and all.

        Raises:
            InvalidReference: the text is no id.
            NotOwned: it is another owner's, if it is there.
            UnknownSpecialist: there is none of that name, retired or not.
            Conflict: its files were removed meanwhile.
            QuotaExceeded: the owner has as many as they may have.
        """
        reference = parse_id(specialist)
        self._view.require_own(reference)
        with self._database.write() as connection:
            if records.retired(connection, reference.id):
                records.restore(connection, reference.id, self._quota)
            lookup.require(connection, reference, self._view)

    def show_to(self, specialist: str, visibility: Visibility) -> None:
        """Say who finds a specialist besides its owner.

        Raises:
            InvalidReference: the text is no id.
            NotOwned: it is another owner's, if it is there.
            UnknownSpecialist: there is none of that name.
        """
        reference = parse_id(specialist)
        self._view.require_own(reference)
        with self._database.write() as connection:
            lookup.require(connection, reference, self._view)
            records.show_to(connection, reference.id, visibility)

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
        folded = None if tag is None else fold_tag(tag)
        with self._database.read() as connection:
            before = None if cursor is None else lookup.number(connection, cursor, self._view)
            found = listing.page(connection, self._view, text or "", folded, before, limit)
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
        with self._database.read() as connection:
            return connection.scalar(queries.last_change()) or 0

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
        statement = select(versions.c.config, versions.c.weights).where(versions.c.digest == digest)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            raise UnknownSpecialist(digest)
        return AdapterFiles(self._blobs.verified(row.config), self._blobs.verified(row.weights))

    def _keep(self, name: str, content: Buffer) -> None:
        if not self._blobs.has(name):
            self._blobs.put(content)

    def pack(self, reference: Reference, into: IO[bytes]) -> None:
        """Write a version as a bundle, its private examples too.

        Raises:
            NotOwned: it is another owner's, if it is there.
            UnknownSpecialist: there is no such version.
            StorageError: a file is missing or damaged.
        """
        self._view.require_own(reference)
        with self._database.read() as connection:
            row = lookup.find_any(connection, reference, self._view)
        files = self.files(row.digest)
        bundle.pack(row.card.encode(), files.config, files.weights, into)

    def _require_base(self, card: Card) -> None:
        if card.base not in (None, self._base.name):
            message = f"is '{card.base}', but the base served here is '{self._base.name}'."
            raise InvalidCard(message, "base")
        if card.base_digest not in (None, self._base.digest):
            message = f"is '{card.base_digest}', but the base served here is {self._base.digest}."
            raise InvalidCard(message, "base_digest")

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
        canary=None if not row.share else Canary(row.tried_number, row.tried_digest, row.share),
    )


def _check_search(text: str | None, limit: int) -> None:
    if text is not None and len(text) > _MAX_SEARCH_CHARACTERS:
        message = f"Search for at most {_MAX_SEARCH_CHARACTERS} characters, not {len(text)}."
        raise InvalidInput(message, "search", "search_too_long")
    if not 1 <= limit <= _MAX_PAGE:
        message = f"limit must be from 1 to {_MAX_PAGE}, not {limit}."
        raise InvalidInput(message, "limit", "invalid_limit")
