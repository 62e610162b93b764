"""Which version each alias of a specialist means, and how that is changed."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row

from registry import guards, lookup, moves, queries, trials
from registry.database import Database
from registry.errors import Conflict, InvalidInput, UnknownSpecialist
from registry.gates import Gate, read
from registry.reference import Reference, parse_id, parse_reference, require_alias
from registry.trials import USUAL, Guard, Record
from registry.version import Alias, Canary, Move, Version
from registry.view import View

MAX_REASON = 500
_MAX_MOVES = 1000


class Aliases:
    """The aliases of the specialists in a view. Thread-safe; every method may raise StorageError.

    Methods that change an alias take `expected`: the number of the version that it is taken to
    point to, 0 for an alias that is taken not to exist, None for one that may be anywhere. They
    raise

        InvalidReference: a text that is no id, no reference or no alias.
        UnknownSpecialist: there is no such specialist, or it has no such version.
        NotOwned: the specialist is not in the hands of the view's owner.
        InvalidInput: a reason that is too long.
        Conflict: the alias is elsewhere, or protected and nothing was expected of it, or its gates
            refuse the version.
    """

    def __init__(self, database: Database, view: View) -> None:
        self._database = database
        self._view = view

    def of(self, specialist: str) -> list[Alias]:
        """A specialist's aliases, by name."""
        reference = parse_id(specialist)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            rows = connection.execute(queries.aliases_of(reference.id)).all()
        return [_alias(row) for row in rows]

    def history(self, specialist: str, alias: str, limit: int = _MAX_MOVES) -> list[Move]:
        """An alias's last moves, the latest first; none for one that never was."""
        reference = parse_id(specialist)
        statement = queries.moves_of(reference.id, alias).limit(limit)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            return [_move(row) for row in connection.execute(statement)]

    def pointing(self, digest: str) -> list[str]:
        """The aliases that point to a version, in the order of their names."""
        with self._database.read() as connection:
            return list(connection.scalars(queries.pointing(digest)))

    def held_back(self, version: Version) -> list[str]:
        """Why a version that was registered was not put into service, in sentences."""
        if version.quarantined is not None:
            return [f"It is quarantined, and not in service. {version.quarantined}"]
        with self._database.read() as connection:
            if guards.protected(connection, version.id, queries.PROD):
                return [f"It is not in service: '{version.id}:{queries.PROD}' is protected."]
            row = connection.execute(queries.version(version.digest)).one()
            reasons = guards.obstacles(connection, version.id, queries.PROD, row.id)
        return [guards.refused(version.id, queries.PROD, reasons)] if reasons else []

    def promote(
        self,
        version: str,
        alias: str = queries.PROD,
        *,
        expected: int | None = None,
        reason: str | None = None,
        protected: bool | None = None,
        gates: Sequence[Gate] | None = None,
        override: bool = False,
    ) -> Alias:
        """Point an alias to the version that a reference means, such as `owner/name@3`.

        Args:
            version: the reference.
            alias: what is to point to it.
            expected: see above.
            reason: why, for the alias's history.
            protected: whether it moves from then on only for those who expect it where it is; None
                leaves that as it is.
            gates: what a version must have scored from then on; None leaves that as it is.
            override: point it there though its gates refuse the version; needs a reason.
        """
        reference = parse_reference(version)
        require_alias(reference.id, alias)
        with self._database.write() as connection:
            self._require(connection, reference, alias, expected, reason)
            row = lookup.find(connection, reference, self._view)
            against = self._pass_gates(connection, row, alias, reason if override else None)
            moves.point(connection, reference.id, alias, row.id, reason, against)
            self._arrange(connection, reference.id, alias, protected, gates)
            return self._now(connection, reference.id, alias)

    def try_out(
        self,
        version: str,
        share: float,
        guard: Guard = USUAL,
        *,
        alias: str = queries.PROD,
    ) -> Canary | None:
        """Give a share of the requests for an alias to another version; 0 ends that.

        A conversation, or a user where requests name one, stays with one version. Whenever the
        alias moves, to this version or elsewhere, the trial is over. It is over too once the
        version's answers fail, or are called bad, more often than the guard lets them.

        Raises:
            InvalidInput: the share is not from 0 to 1, or the alias points to the version already.
            UnknownSpecialist: there is no such version, or no such alias.
        """
        reference = parse_reference(version)
        if not 0 <= share <= 1:
            message = f"share must be from 0 to 1, not {share:g}."
            raise InvalidInput(message, "share", "invalid_share")
        self._view.require_own(reference)
        with self._database.write() as connection:
            row = lookup.find(connection, reference, self._view)
            served = moves.number(connection, reference.id, alias)
            if share and served is None:
                raise UnknownSpecialist(f"{reference.id}:{alias}")
            if share and row.number == served:
                message = f"Version {row.number} is in service already; try another one."
                raise InvalidInput(message, "version", "in_service")
            moves.try_out(connection, reference.id, alias, row.id, share, **asdict(guard))
            return Canary(row.number, row.digest, share) if share else None

    def canary(self, specialist: str, alias: str = queries.PROD) -> Canary | None:
        """The version that is tried on some of the requests for an alias, if one is."""
        reference = parse_id(specialist)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            row = connection.execute(queries.canary(reference.id, alias)).one_or_none()
        return None if row is None else Canary(row.number, row.digest, row.share, row.verdict)

    def trial(self, specialist: str, alias: str = queries.PROD) -> list[Record]:
        """How what an alias points to and what is tried fare; empty when nothing is tried."""
        reference = parse_id(specialist)
        with self._database.read() as connection:
            lookup.require(connection, reference, self._view)
            return trials.records(connection, reference.id, alias)

    def roll_back(
        self,
        specialist: str,
        alias: str = queries.PROD,
        *,
        expected: int | None = None,
        reason: str | None = None,
    ) -> Alias:
        """Point an alias to what it pointed at before; Conflict when that was nothing."""
        reference = parse_id(specialist)
        with self._database.write() as connection:
            self._require(connection, reference, alias, expected, reason)
            moves.roll_back(connection, reference.id, alias, reason)
            there = replace(reference, alias=alias)
            if connection.execute(queries.one(there, self._view)).first() is None:
                message = f"'{there}' pointed at a version for another base before."
                raise Conflict(f"{message} Promote one for this base.", "nothing_before")
            return self._now(connection, reference.id, alias)

    def remove(
        self,
        specialist: str,
        alias: str,
        *,
        expected: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Take an alias away; `prod` goes only with the specialist, by retiring it."""
        reference = parse_id(specialist)
        if alias == queries.PROD:
            message = f"'{queries.PROD}' is what is served; retire the specialist instead."
            raise InvalidInput(message, "alias", "alias_in_service")
        with self._database.write() as connection:
            self._require(connection, reference, alias, expected, reason)
            self._now(connection, reference.id, alias)
            moves.take_away(connection, reference.id, alias, reason)

    def arrange(
        self,
        specialist: str,
        alias: str,
        *,
        protected: bool | None = None,
        gates: Sequence[Gate] | None = None,
    ) -> Alias:
        """Protect an alias that stays where it is, or put gates before it; see `promote`."""
        reference = parse_id(specialist)
        self._view.require_own(reference)
        with self._database.write() as connection:
            lookup.require(connection, reference, self._view)
            self._now(connection, reference.id, alias)
            self._arrange(connection, reference.id, alias, protected, gates)
            return self._now(connection, reference.id, alias)

    def _arrange(
        self,
        connection: Connection,
        specialist: str,
        alias: str,
        protected: bool | None,
        gates: Sequence[Gate] | None,
    ) -> None:
        if protected is not None:
            guards.protect(connection, specialist, alias, wanted=protected)
        if gates is not None:
            guards.set_gates(connection, specialist, alias, gates)

    def _pass_gates(
        self, connection: Connection, version: Row[Any], alias: str, override: str | None
    ) -> str | None:
        """What the gates say against a version, if that is overridden with a reason."""
        reasons = guards.obstacles(connection, version.specialist, alias, version.id)
        if reasons and not override:
            raise Conflict(
                guards.refused(version.specialist, alias, reasons)
                + " To promote it all the same, override the gates and give a reason.",
                "gate_closed",
            )
        return " ".join(reasons) or None

    def _require(
        self,
        connection: Connection,
        reference: Reference,
        alias: str,
        expected: int | None,
        reason: str | None,
    ) -> None:
        self._view.require_own(reference)
        if reason is not None and len(reason) > MAX_REASON:
            message = f"Give a reason of at most {MAX_REASON} characters."
            raise InvalidInput(message, "reason", "reason_too_long")
        lookup.require(connection, reference, self._view)
        found = moves.number(connection, reference.id, alias) or 0
        if expected not in (None, found):
            raise Conflict(
                f"'{reference.id}:{alias}' {_where(found)}, and was expected to be elsewhere; look "
                "at it again before you move it.",
                "alias_moved",
            )
        if expected is None and guards.protected(connection, reference.id, alias):
            raise Conflict(
                f"'{reference.id}:{alias}' is protected; move it with 'expected': {found}, the "
                "version that it points to.",
                "alias_protected",
            )

    def _now(self, connection: Connection, specialist: str, alias: str) -> Alias:
        found = connection.execute(queries.aliases_of(specialist)).all()
        row = next((row for row in found if row.alias == alias), None)
        if row is None:
            raise UnknownSpecialist(f"{specialist}:{alias}")
        return _alias(row)


def _where(number: int) -> str:
    return f"points to version {number}" if number else "does not exist"


def _alias(row: Row[Any]) -> Alias:
    return Alias(row.alias, row.number, row.digest, row.protected is not None, read(row.gates))


def _move(row: Row[Any]) -> Move:
    created = row.created.replace(tzinfo=UTC)
    return Move(row.number, row.digest, row.reason, created, row.overridden)
