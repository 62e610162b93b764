"""The catalogue's reads, as statements; a view confines each to what its owner may see."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    func,
    or_,
    select,
    true,
)

from registry.reference import LATEST, Reference
from registry.tables import (
    aliases,
    bases,
    canaries,
    changes,
    files,
    gates,
    moves,
    protections,
    specialists,
    versions,
)
from registry.view import View, Visibility

PROD = "prod"
LAST_CHANGE = str(select(func.max(changes.c.seq)))
"""The number of the last change, null before the first; for `Database.glance`."""
_VERSION = [column for column in versions.c if column.name not in ("nbytes", "purged", "traits")]
_VERSION.append(specialists.c.visibility)
_NEAREST_CANDIDATES = 100
_first = versions.alias("first")
_tried = versions.alias("tried")
_LIVE = [
    versions.c.specialist,
    versions.c.number,
    versions.c.digest,
    versions.c.created,
    versions.c.traits,
    specialists.c.visibility,
    _first.c.created.label("since"),
    canaries.c.share,
    _tried.c.number.label("tried_number"),
    _tried.c.digest.label("tried_digest"),
]


def numbered(numbers: Sequence[int], view: View) -> Select[Any]:
    """The live versions of these specialists, the newest specialist first."""
    found = _in_service(select(*_VERSION), view).where(_is_one_of(numbers))
    return found.order_by(specialists.c.seq.desc())


def numbered_heads(numbers: Sequence[int], view: View) -> Select[Any]:
    """The same without their cards."""
    found = _with_trial(_in_service(select(*_LIVE), view)).where(_is_one_of(numbers))
    return found.order_by(specialists.c.seq.desc())


def _is_one_of(numbers: Sequence[int]) -> ColumnElement[bool]:
    """Said of the alias, by which SQLite would else look through all that are in service."""
    ids = select(specialists.c.id).where(specialists.c.seq.in_(numbers))
    return aliases.c.specialist.in_(ids.scalar_subquery())


def live_heads(view: View) -> Select[Any]:
    """Every live specialist without its card, in the order of their ids."""
    return _with_trial(_in_service(select(*_LIVE), view)).order_by(aliases.c.specialist)


def count_live(view: View) -> Select[Any]:
    """How many specialists are live."""
    return _in_service(select(func.count()).select_from(versions), view)


def named(name: str, view: View) -> Select[Any]:
    """Ids of live specialists of any owner that have this name."""
    named = _ids_in_service(view).where(specialists.c.name == name)
    return named.order_by(specialists.c.id)


def newest(specialist: str, view: View) -> Select[Any]:
    """The versions of a specialist without their cards, the newest first."""
    columns = (versions.c.number, versions.c.digest, versions.c.kind, versions.c.created)
    return (
        select(*columns)
        .where(versions.c.specialist == specialist, versions.c.base == view.base)
        .where(versions.c.purged.is_(None))
        .order_by(versions.c.number.desc())
    )


def version(digest: str) -> Select[Any]:
    """A version by its digest, live or not."""
    return _of_specialist(select(*_VERSION)).where(versions.c.digest == digest)


def made() -> Select[Any]:
    """Of every version what its manifest is made of, its id first."""
    shown = ("id", "specialist", "number", "digest", "kind", "base", "config", "weights", "card")
    base = bases.c.digest.label("base_digest")
    known = bases.c.name == versions.c.base
    return select(*(versions.c[each] for each in shown), base).outerjoin(bases, known)


def pointing(digest: str) -> Select[Any]:
    """The aliases that point to a version."""
    return (
        select(aliases.c.alias)
        .join(versions, versions.c.id == aliases.c.version)
        .join(specialists, specialists.c.id == aliases.c.specialist)
        .where(versions.c.digest == digest, specialists.c.retired.is_(None))
        .order_by(aliases.c.alias)
    )


def one(reference: Reference, view: View) -> Select[Any]:
    """The version that a reference means, unless its specialist is retired."""
    return _meant(reference, _in_use(select(*_VERSION), reference.id, view))


def some_version(specialist: str, view: View) -> Select[Any]:
    """A row if the specialist has a version, and is not retired."""
    return _in_use(select(versions.c.id), specialist, view).limit(1)


def any_version(reference: Reference, view: View) -> Select[Any]:
    """The version that a reference means, of any base, retired or not."""
    found = _of_specialist(select(*_VERSION)).where(versions.c.specialist == reference.id)
    return _meant(reference, found.where(reachable(view)))


def reachable(view: View) -> ColumnElement[bool]:
    """Specialists that whoever knows their name may use."""
    return _seen(view, (Visibility.PUBLIC, Visibility.UNLISTED))


def listed(view: View) -> ColumnElement[bool]:
    """Specialists that may be shown unasked."""
    return _seen(view, (Visibility.PUBLIC,))


def _seen(view: View, by_all: Sequence[Visibility]) -> ColumnElement[bool]:
    if view.owner is None:
        return true()
    return or_(specialists.c.visibility.in_(by_all), owned(view.owner))


def owned(owner: str) -> ColumnElement[bool]:
    """An owner's specialists, as a range of the primary key: '0' comes after '/'."""
    return and_(specialists.c.id > f"{owner}/", specialists.c.id < f"{owner}0")


def of_owner(column: ColumnElement[Any], owner: str | None) -> ColumnElement[bool]:
    """Rows of an owner, who stands in a column of theirs; for None those of all."""
    return true() if owner is None else column == owner


def file(identity: str, owner: str | None) -> Select[Any]:
    """A file by its id, if it is the owner's; for None whoever's it is."""
    return select(files).where(files.c.id == identity, of_owner(files.c.owner, owner))


def _of_specialist(found: Select[Any]) -> Select[Any]:
    return found.join(specialists, specialists.c.id == versions.c.specialist)


def _in_use(found: Select[Any], specialist: str, view: View) -> Select[Any]:
    """The versions of one specialist that is not retired."""
    return _of_specialist(found).where(
        versions.c.specialist == specialist,
        versions.c.base == view.base,
        versions.c.purged.is_(None),
        specialists.c.retired.is_(None),
        reachable(view),
    )


def _in_service(found: Select[Any], view: View) -> Select[Any]:
    """The versions that `prod` means, of specialists that are not retired."""
    return (
        found.join(aliases, aliases.c.version == versions.c.id)
        .join(specialists, specialists.c.id == aliases.c.specialist)
        .where(aliases.c.alias == PROD, versions.c.base == view.base)
        .where(specialists.c.retired.is_(None), listed(view))
    )


def _ids_in_service(view: View) -> Select[Any]:
    return _in_service(select(specialists.c.id).select_from(versions), view)


def _meant(reference: Reference, found: Select[Any]) -> Select[Any]:
    if reference.digest is not None:
        return found.where(versions.c.digest == reference.digest)
    if reference.number is not None:
        return found.where(versions.c.number == reference.number)
    if reference.alias == LATEST:
        found = found.where(versions.c.quarantined.is_(None))
        return found.order_by(versions.c.number.desc()).limit(1)
    alias = of_alias(aliases, reference.id, reference.alias or PROD)
    return found.join(aliases, aliases.c.version == versions.c.id).where(*alias)


def of_alias(
    table: Table, specialist: str, alias: str
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The rows of a table that are about an alias, as conditions."""
    return table.c.specialist == specialist, table.c.alias == alias


def aliases_of(specialist: str) -> Select[Any]:
    """A specialist's aliases, versions and gates, and `protected`, null for those that are not."""
    shown = (aliases.c.alias, versions.c.number, versions.c.digest, gates.c.gates)
    return (
        select(*shown, protections.c.alias.label("protected"))
        .join(versions, versions.c.id == aliases.c.version)
        .outerjoin(protections, _same_alias(protections))
        .outerjoin(gates, _same_alias(gates))
        .where(aliases.c.specialist == specialist)
        .order_by(aliases.c.alias)
    )


def _same_alias(table: Table) -> ColumnElement[bool]:
    return and_(table.c.specialist == aliases.c.specialist, table.c.alias == aliases.c.alias)


def moves_of(specialist: str, alias: str) -> Select[Any]:
    """An alias's moves, the latest first; the version is null where it was taken away."""
    return (
        select(
            *(versions.c.number, versions.c.digest),
            *(moves.c.reason, moves.c.overridden, moves.c.created),
        )
        .select_from(moves)
        .outerjoin(versions, versions.c.id == moves.c.version)
        .where(moves.c.specialist == specialist, moves.c.alias == alias)
        .order_by(moves.c.id.desc())
    )


def _with_trial(found: Select[Any]) -> Select[Any]:
    """Beside versions what _LIVE has of others: the first one, and one that is tried."""
    of_prod = canaries.c.alias == PROD
    return (
        found.outerjoin(
            _first, and_(_first.c.specialist == versions.c.specialist, _first.c.number == 1)
        )
        .outerjoin(canaries, and_(canaries.c.specialist == versions.c.specialist, of_prod))
        .outerjoin(_tried, _tried.c.id == canaries.c.version)
    )


def changes_after(seq: int, view: View) -> Select[Any]:
    """Each change with the version that is live now, its columns null if there is none."""
    found = (
        select(changes.c.seq, changes.c.specialist.label("changed"), *_LIVE)
        .join(specialists, specialists.c.id == changes.c.specialist)
        .outerjoin(
            aliases,
            and_(
                aliases.c.specialist == changes.c.specialist,
                aliases.c.alias == PROD,
                specialists.c.retired.is_(None),
            ),
        )
        .outerjoin(versions, and_(versions.c.id == aliases.c.version, versions.c.base == view.base))
    )
    return _with_trial(found).where(changes.c.seq > seq).order_by(changes.c.seq)


def candidates(reference: Reference, view: View) -> list[Select[Any]]:
    """Live ids that share a beginning with a mistyped one: a bounded few of each sort."""
    if view.owner is None:
        return _beginning(reference, reference.owner, View(view.base), true())
    public = specialists.c.visibility == Visibility.PUBLIC
    everybodys = _beginning(reference, reference.owner, View(view.base), public)
    own = _beginning(reference, view.owner, View(view.base), true())[:2]
    return [*everybodys, *own]


def _beginning(
    reference: Reference, owner: str, view: View, shown: ColumnElement[bool]
) -> list[Select[Any]]:
    ids, names = specialists.c.id, specialists.c.name
    beginnings = [
        (ids, f"{owner}/{reference.name[:3]}"),
        (ids, f"{owner}/"),
        (ids, owner[:3]),
        (names, reference.name[:3]),
        (ids, ""),
    ]
    return [
        _ids_in_service(view)
        # '~' sorts after every character that an id may have.
        .where(column >= beginning, column < beginning + "~", shown)
        .limit(_NEAREST_CANDIDATES)
        for column, beginning in beginnings
    ]


def by_digest(digest: str) -> Select[Any]:
    """A version's number, and whose it is."""
    return _named().where(versions.c.digest == digest)


def beginning_with(prefix: str) -> Select[Any]:
    """The version whose digest begins so; 'g' sorts after every digit of one."""
    return _named().where(versions.c.digest >= prefix, versions.c.digest < prefix + "g")


def _named() -> Select[Any]:
    return select(versions.c.id, versions.c.specialist, versions.c.number)


def trials(specialist: str) -> Select[Any]:
    """A specialist's trials that are under way: the versions served and tried, and bounds."""
    same = and_(aliases.c.specialist == canaries.c.specialist, aliases.c.alias == canaries.c.alias)
    return (
        select(
            aliases.c.alias,
            *(aliases.c.version.label("served"), canaries.c.version.label("tried")),
            *(canaries.c.margin, canaries.c.least, canaries.c.began),
        )
        .join(aliases, same)
        .where(canaries.c.specialist == specialist, canaries.c.share > 0)
        .order_by(aliases.c.alias)
    )


def canary(specialist: str, alias: str) -> Select[Any]:
    """The version that is tried on some of the requests for an alias."""
    tried = (versions.c.number, versions.c.digest, canaries.c.share)
    return (
        select(*tried, canaries.c.margin, canaries.c.least, canaries.c.verdict)
        .join(versions, versions.c.id == canaries.c.version)
        .where(*of_alias(canaries, specialist, alias))
    )
