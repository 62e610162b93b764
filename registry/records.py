"""The catalogue's writes, each within the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from registry import audit, guards, moves, origins, queries
from registry.card import Card
from registry.clock import now
from registry.errors import BaseChanged, Conflict, QuotaExceeded
from registry.manifest import Manifest, digest
from registry.queries import PROD
from registry.quota import UNLIMITED, Quota
from registry.reference import parse_id
from registry.tables import aliases, bases, specialists, versions
from registry.traits import Traits
from registry.view import View, Visibility


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a registration asks for beside its content.

    Attributes:
        alias: what is to point to the version.
        visibility: who is to find a new specialist.
        base_license: of the base that it is for.
        nbytes: of its files.
        quota: what its owner may have.
        quarantined: why nobody is to be answered by it.
    """

    alias: str | None = None
    visibility: Visibility | None = None
    base_license: str | None = None
    nbytes: int = 0
    quota: Quota = UNLIMITED
    quarantined: str | None = None


def register(
    connection: Connection, card: Card, manifest: Manifest, wanted: Wanted, view: View
) -> bool:
    """Note a version, and point an alias to it; True if the version is new.

    Without an alias, `prod` goes to a new version, unless it is protected or its gates refuse it;
    for a known version nothing moves, since a late retry must not undo what happened after its
    first try. A retired specialist to which an alias is pointed begins anew, without its others. To
    a quarantined version nothing is pointed.

    Raises:
        Conflict: the alias that was asked for is protected, or its gates refuse the version; or the
            specialist is there with another visibility.
        QuotaExceeded: the owner has as much as the quota allows.
    """
    alias = wanted.alias
    _require_specialist(connection, card.id, wanted)
    known = _known(connection, manifest)
    if known is None:
        version, quarantined = _insert(connection, card, manifest, wanted, view), wanted.quarantined
    else:
        version, quarantined = known.id, known.quarantined
    if quarantined is not None:
        return known is None
    if alias is not None or known is None:
        _begin_anew(connection, card.id)
    if alias is not None:
        _require_free(connection, card.id, alias, version)
        moves.point(connection, card.id, alias, version)
    elif known is None and not _closed(connection, card.id, PROD, version):
        moves.point(connection, card.id, PROD, version)
    return known is None


def require_base(connection: Connection, name: str, digest: str) -> None:
    """Hold a base's name to the weights that it stood for before.

    Raises:
        BaseChanged: they are others now.
    """
    row = bases.c.name == name
    known = connection.scalar(select(bases.c.digest).where(row))
    if known is None:
        connection.execute(insert(bases).values(name=name, digest=digest))
    elif known != digest:
        raise BaseChanged(name, known, digest)


def retire(connection: Connection, specialist: str) -> None:
    """Close all ways to reach a specialist; what it has stays."""
    _mark(connection, specialist, now())
    audit.note(connection, audit.RETIRED, specialist)
    moves.note_change(connection, specialist)


def show_to(connection: Connection, specialist: str, visibility: Visibility) -> None:
    """Say who finds a specialist besides its owner."""
    row = specialists.c.id == specialist
    connection.execute(update(specialists).where(row).values(visibility=visibility))
    audit.note(connection, audit.SHOWN, specialist, visibility=visibility)
    moves.note_change(connection, specialist)


def restore(connection: Connection, specialist: str, quota: Quota) -> None:
    """Bring a retired specialist back as it was.

    Raises:
        Conflict: its files were removed.
        QuotaExceeded: the owner has as much as the quota allows.
    """
    left = versions.c.specialist == specialist, versions.c.purged.is_(None)
    if connection.scalar(select(versions.c.id).where(*left).limit(1)) is None:
        message = f"The files of '{specialist}' were removed since; register it again."
        raise Conflict(message, "purged")
    _require_room(connection, parse_id(specialist).owner, quota.specialists)
    _mark(connection, specialist, None)
    audit.note(connection, audit.RESTORED, specialist)
    moves.note_change(connection, specialist)


def release(connection: Connection, version: Row[Any]) -> None:
    """Let a version be served that was quarantined."""
    if version.quarantined is None:
        return
    row = versions.c.id == version.id
    connection.execute(update(versions).where(row).values(quarantined=None))
    audit.note(connection, audit.RELEASED, version.specialist, version=version.number)


def retired(connection: Connection, specialist: str) -> datetime | None:
    """Since when a specialist is retired; None for one that is not, or never was."""
    statement = select(specialists.c.retired).where(specialists.c.id == specialist)
    return connection.scalar(statement)


def _known(connection: Connection, manifest: Manifest) -> Row[Any, Any, Any] | None:
    """The version of this content, if it was registered before; it has its files again."""
    columns = versions.c.id, versions.c.quarantined, versions.c.purged
    same = versions.c.digest == digest(manifest)
    found = connection.execute(select(*columns).where(same)).one_or_none()
    if found is not None and found.purged is not None:
        connection.execute(update(versions).where(same).values(purged=None))
    return found


def _mark(connection: Connection, specialist: str, when: datetime | None) -> None:
    row = specialists.c.id == specialist
    connection.execute(update(specialists).where(row).values(retired=when))


def _begin_anew(connection: Connection, specialist: str) -> None:
    if retired(connection, specialist) is None:
        return
    names = select(aliases.c.alias).where(aliases.c.specialist == specialist)
    for alias in connection.scalars(names).all():
        moves.take_away(connection, specialist, alias)
    _mark(connection, specialist, None)


def _closed(connection: Connection, specialist: str, alias: str, version: int) -> bool:
    return guards.protected(connection, specialist, alias) or bool(
        guards.obstacles(connection, specialist, alias, version)
    )


def _require_free(connection: Connection, specialist: str, alias: str, version: int) -> None:
    if guards.protected(connection, specialist, alias):
        message = f"'{specialist}:{alias}' is protected; register without it, and promote then."
        raise Conflict(message, "alias_protected")
    if reasons := guards.obstacles(connection, specialist, alias, version):
        raise Conflict(guards.refused(specialist, alias, reasons), "gate_closed")


def _require_specialist(connection: Connection, specialist: str, wanted: Wanted) -> None:
    """Make a specialist, or hold the one that is there to the visibility that is asked for."""
    row = specialists.c.id == specialist
    known = connection.scalar(select(specialists.c.visibility).where(row))
    if known is None:
        reference = parse_id(specialist)
        _require_room(connection, reference.owner, wanted.quota.specialists)
        visibility = wanted.visibility or Visibility.PRIVATE
        number = (connection.scalar(select(func.max(specialists.c.seq))) or 0) + 1
        named = {"id": specialist, "name": reference.name, "seq": number}
        connection.execute(insert(specialists).values(**named, visibility=visibility))
    elif wanted.visibility not in (None, known):
        other = f"'{specialist}' is {known}, not {wanted.visibility}"
        raise Conflict(f"{other}; change that first, or leave it out.", "other_visibility")


def _require_room(connection: Connection, owner: str, bound: int | None) -> None:
    """Let an owner have one more specialist."""
    kept = queries.owned(owner), specialists.c.retired.is_(None)
    count = select(func.count()).select_from(specialists).where(*kept)
    _require_below(connection, count, "specialists", bound)


def _require_bytes(connection: Connection, owner: str, bound: int | None) -> None:
    """Let an owner have another version."""
    total = select(func.sum(versions.c.nbytes))
    own = total.join(specialists, specialists.c.id == versions.c.specialist)
    _require_below(connection, own.where(queries.owned(owner)), "bytes", bound)


def _require_below(connection: Connection, had: Select[Any], what: str, bound: int | None) -> None:
    if bound is not None and (connection.scalar(had) or 0) >= bound:
        raise QuotaExceeded(what, bound)


def _insert(
    connection: Connection, card: Card, manifest: Manifest, wanted: Wanted, view: View
) -> int:
    _require_bytes(connection, parse_id(card.id).owner, wanted.quota.bytes)
    last = select(func.max(versions.c.number)).where(versions.c.specialist == card.id)
    row = {
        "specialist": card.id,
        "number": (connection.scalar(last) or 0) + 1,
        "digest": digest(manifest),
        "kind": manifest.kind,
        "base": manifest.base,
        "config": manifest.config,
        "weights": manifest.weights,
        "card": card.canonical().decode(),
        "traits": Traits.of(card).text,
        "nbytes": wanted.nbytes,
        "quarantined": wanted.quarantined,
        "created": now(),
    }
    added = insert(versions).values(row).returning(versions.c.id)
    version: int = connection.execute(added).scalar_one()
    origins.note(connection, version, card, manifest, wanted.base_license, view)
    named = {"version": row["number"], "digest": row["digest"]}
    audit.note(connection, audit.REGISTERED, card.id, **named)
    if wanted.quarantined is not None:
        noted = {"version": row["number"], "reason": wanted.quarantined}
        audit.note(connection, audit.QUARANTINED, card.id, **noted)
    return version
