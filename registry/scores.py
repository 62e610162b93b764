"""Held-out scores of versions: those on their cards, and those that came later."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select

from registry import audit, origins
from registry.card import Card, Evaluation
from registry.clock import now
from registry.tables import scores


def add(
    connection: Connection, version: int, specialist: str, number: int, found: Iterable[Evaluation]
) -> None:
    """Note scores of a version; one of the same metric on the same data takes the other's place."""
    for score in found:
        data = score.data or ""
        same = scores.c.version == version, scores.c.metric == score.metric, scores.c.data == data
        connection.execute(delete(scores).where(*same))
        values = score.model_dump() | {"data": data, "version": version, "created": now()}
        connection.execute(insert(scores).values(values))
        if score.data is not None:
            origins.note_data(connection, version, score.data)
        told = score.model_dump(exclude_none=True)
        audit.note(connection, audit.SCORED, specialist, version=number, **told)


def of(connection: Connection, version: int, card: Card) -> tuple[Evaluation, ...]:
    """A version's scores, the later ones in the place of those on its card."""
    found = {(each.metric, each.data or ""): each for each in card.evaluation}
    for row in connection.execute(select(scores).where(scores.c.version == version)):
        fields = {"metric": row.metric, "value": row.value, "base_value": row.base_value}
        more = {"rows": row.rows, "data": row.data or None}
        found[row.metric, row.data] = Evaluation.model_validate(fields | more)
    return tuple(found.values())
