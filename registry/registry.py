"""The registry: what may be done with specialists, and by whom."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from registry import archive, audit, bundle, licences, lookup, queries, records, scores
from registry.adapter import Limits, warnings
from registry.aliases import Aliases
from registry.base import BaseSpec
from registry.batch_queue import BatchQueue
from registry.batches import Batches
from registry.blobs import Blobs, ensure
from registry.card import Card, Evaluation
from registry.catalogue import Catalogue
from registry.checking import CHECKERS
from registry.clock import aware
from registry.collection import Collected, collect_from
from registry.content import Buffer
from registry.conversations import Conversations
from registry.data_files import DataFiles
from registry.database import Database
from registry.digests import digest_bytes
from registry.errors import InvalidCard, NotOwned, RegistryError
from registry.files import AdapterFiles
from registry.jobs import Jobs
from registry.keys import Keys
from registry.lineage import Lineage
from registry.location import Location
from registry.manifest import Manifest, canonical
from registry.queue import Queue
from registry.quota import UNLIMITED, Quota
from registry.reference import Reference, parse_id, require_alias
from registry.trials import Trials
from registry.usage import Ledger
from registry.version import Change, Head, Live, Page, Version
from registry.view import View, Visibility

__all__ = ["AdapterFiles", "Change", "Head", "Live", "Page", "Registry", "Version"]


class Registry(Catalogue):
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
        super().__init__(database, blobs, View(base.name, owner))
        self.aliases = Aliases(database, self._view)
        """Which version each alias means, and how that is changed."""
        self.lineage = Lineage(database, self._view)
        """Where versions come from, and what stands on them."""
        self.keys = Keys(database)
        """Who may use it."""
        self.trials = Trials(database, owner)
        """How answers fare."""
        self.ledger = Ledger(database, self._view)
        """What was used."""
        self.conversations = Conversations(database, self._view, quota)
        """What was asked to be kept."""
        self.data = DataFiles(database, blobs, owner, quota)
        """What people sent to be trained on."""
        self.jobs = Jobs(database, self._view, quota)
        """Trainings that were asked for."""
        self.queue = Queue(database, blobs, base.name)
        """The same, for those who train."""
        self.batches = Batches(database, self._view)
        """Files of requests that were asked to be answered."""
        self.batch_queue = BatchQueue(database, blobs, base.name)
        """The same, for those who answer them."""
        self._base = base
        self._limits = limits
        self._quota = quota

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
        rebuilt = canonical(adapter.config)
        manifest = Manifest(
            kind=adapter.kind,
            base=self._base.name,
            base_digest=self._base.digest,
            config=self._blobs.put(rebuilt),
            weights=self._blobs.put(weights),
            card=digest_bytes(card.canonical()),
        )
        name = self._blobs.put(manifest.content)
        with self._database.write() as connection:
            ensure(self._blobs, manifest.config, rebuilt)
            ensure(self._blobs, manifest.weights, weights)
            ensure(self._blobs, name, manifest.content)
            nbytes = len(config) + len(weights)
            terms, outlier = self._base.license, adapter.outlier
            wanted = records.Wanted(alias, visibility, terms, nbytes, self._quota, outlier)
            created = records.register(connection, card, manifest, wanted, self._view)
            row = connection.execute(queries.version(name)).one()
        return self._version(row), created

    @property
    def base_spec(self) -> BaseSpec:
        """The base whose adapters are registered here."""
        return self._base

    def warnings(self, config: bytes, weights: Buffer) -> list[str]:
        """What the owner of an adapter that was registered had better know."""
        return warnings(config, weights, self._base, self._limits)

    def licence_warnings(self, version: Version) -> list[str]:
        """What the licences of all that a version comes from ask for, where it lacks it."""
        return licences.warnings(version.card, self.lineage.licensed(version.digest))

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

    def retired(self, specialist: str) -> datetime | None:
        """Since when a specialist is retired; None for one that is not, or never was.

        Raises:
            InvalidReference: the text is no id.
            NotOwned: it is another owner's, if it is there.
        """
        reference = parse_id(specialist)
        self._view.require_own(reference)
        with self._database.read() as connection:
            return aware(records.retired(connection, reference.id))

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
            if records.retired(connection, reference.id) is not None:
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

    def backup(self, file: Path) -> archive.Contents:
        """Write all that is registered into a file; see `archive.backup`."""
        return archive.pack(self._database, self._blobs, file)

    def problems(self) -> Iterator[str]:
        """All that is wrong, in sentences; reads every file."""
        return archive.check(self._database, self._blobs)

    def collect(self, retention: timedelta) -> Collected:
        """Collect garbage; see `collection.collect`."""
        return collect_from(self._database, self._blobs, retention)

    def audit_log(self, limit: int, specialist: str | None = None) -> list[audit.Entry]:
        """The last changes, of one specialist or of all, the latest at the end."""
        with self._database.read() as connection:
            return audit.last(connection, limit, specialist)

    def audit_problems(self, head: str | None = None) -> Iterator[str]:
        """What is wrong with the audit log; see `audit.problems`."""
        return audit.problems(self._database, head)

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
