"""The catalogue's writes, each within the caller's transaction."""

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from registry.card import Card
from registry.manifest import Manifest, digest
from registry.queries import PROD
from registry.reference import parse_id
from registry.tables import aliases, changes, specialists, tags, versions


def register(connection: Connection, card: Card, manifest: Manifest) -> bool:
    """Make this the specialist's live version; True if the version is new."""
    known = connection.scalar(select(versions.c.id).where(versions.c.digest == digest(manifest)))
    version = known if known is not None else _insert(connection, card, manifest)
    if _point(connection, card.id, PROD, version):
        _note_change(connection, card.id)
    return known is None


def retire(connection: Connection, specialist: str) -> None:
    """Take away every alias, and with them all ways to reach the specialist."""
    connection.execute(delete(aliases).where(aliases.c.specialist == specialist))
    _note_change(connection, specialist)


def _insert(connection: Connection, card: Card, manifest: Manifest) -> int:
    if connection.scalar(select(specialists.c.id).where(specialists.c.id == card.id)) is None:
        connection.execute(insert(specialists).values(id=card.id, name=parse_id(card.id).name))
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
        "words": "\n".join((card.id, card.description, *card.tags)).casefold(),
        "created": _now(),
    }
    added = insert(versions).values(row).returning(versions.c.id)
    version: int = connection.execute(added).scalar_one()
    if card.tags:
        rows = [{"tag": tag, "version": version} for tag in card.tags]
        connection.execute(insert(tags), rows)
    return version


def _point(connection: Connection, specialist: str, alias: str, version: int) -> bool:
    """Move an alias; False if it is there already."""
    row = (aliases.c.specialist == specialist) & (aliases.c.alias == alias)
    current = connection.scalar(select(aliases.c.version).where(row))
    if current == version:
        return False
    if current is None:
        values = {"specialist": specialist, "alias": alias, "version": version}
        connection.execute(insert(aliases).values(values))
    else:
        connection.execute(update(aliases).where(row).values(version=version))
    return True


def _note_change(connection: Connection, specialist: str) -> None:
    connection.execute(insert(changes).values(specialist=specialist, created=_now()))


def _now() -> datetime:
    """UTC without a zone, as the tables hold it."""
    return datetime.now(UTC).replace(tzinfo=None)
