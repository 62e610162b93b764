"""What stands before an alias: protection and gates, each within the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from registry import audit, scores
from registry.card import Card
from registry.gates import Gate, failures, read, written
from registry.queries import of_alias
from registry.tables import aliases, gates, protections, versions


def protected(connection: Connection, specialist: str, alias: str) -> bool:
    """Whether an alias moves only for those who say where it is."""
    statement = select(protections.c.alias).where(*of_alias(protections, specialist, alias))
    return connection.scalar(statement) is not None


def protect(connection: Connection, specialist: str, alias: str, *, wanted: bool) -> None:
    """Protect an alias, or let it move freely."""
    if wanted == protected(connection, specialist, alias):
        return
    if wanted:
        connection.execute(insert(protections).values(specialist=specialist, alias=alias))
    else:
        connection.execute(delete(protections).where(*of_alias(protections, specialist, alias)))
    audit.note(connection, audit.PROTECTED, specialist, alias=alias, protected=wanted)


def set_gates(connection: Connection, specialist: str, alias: str, wanted: Sequence[Gate]) -> None:
    """Put these gates before an alias, in place of those that were there."""
    if tuple(wanted) == gates_of(connection, specialist, alias):
        return
    connection.execute(delete(gates).where(*of_alias(gates, specialist, alias)))
    if wanted:
        values = {"specialist": specialist, "alias": alias, "gates": written(wanted)}
        connection.execute(insert(gates).values(values))
    shown = [gate.model_dump() for gate in wanted]
    audit.note(connection, audit.GATED, specialist, alias=alias, gates=shown)


def gates_of(connection: Connection, specialist: str, alias: str) -> tuple[Gate, ...]:
    """The gates before an alias."""
    return read(connection.scalar(select(gates.c.gates).where(*of_alias(gates, specialist, alias))))


def clear(connection: Connection, specialist: str, alias: str) -> None:
    """Take everything away that stands before an alias."""
    protect(connection, specialist, alias, wanted=False)
    set_gates(connection, specialist, alias, ())


def obstacles(connection: Connection, specialist: str, alias: str, version: int) -> list[str]:
    """Why the gates before an alias refuse a version, in sentences; none if they let it pass."""
    wanted = gates_of(connection, specialist, alias)
    if not wanted:
        return []
    pointing = select(aliases.c.version).where(*of_alias(aliases, specialist, alias))
    current = connection.scalar(pointing)
    before = None if current is None else _card(connection, current)
    return failures(wanted, _card(connection, version), before)


def refused(specialist: str, alias: str, reasons: list[str]) -> str:
    """What to say of a version that an alias's gates refuse."""
    return f"The gates before '{specialist}:{alias}' refuse the version. {' '.join(reasons)}"


def _card(connection: Connection, version: int) -> Card:
    """A version's card, with the scores that came after it."""
    text = connection.execute(select(versions.c.card).where(versions.c.id == version)).scalar_one()
    card = Card.stored(text)
    return card.model_copy(update={"evaluation": scores.of(connection, version, card)})
