"""Traits have held-out scores as well, by which near ties are told apart."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_TOGETHER = 1000


def upgrade() -> None:
    """Add them from the cards, where they say on which data; of others nothing is known."""
    connection, last = op.get_bind(), 0
    some = sa.text(
        "SELECT id, card, traits FROM versions WHERE id > :last ORDER BY id LIMIT :count"
    )
    filled = sa.text("UPDATE versions SET traits = :traits WHERE id = :id")
    while rows := connection.execute(some, {"last": last, "count": _TOGETHER}).all():
        found = [(row.id, row.traits, _scores(row.card)) for row in rows]
        changed = [
            {"id": number, "traits": _with(traits, scores)}
            for number, traits, scores in found
            if scores and traits != "{}"
        ]
        if changed:
            connection.execute(filled, changed)
        last = rows[-1].id


def _scores(card: str) -> list[list[object]]:
    try:
        return [
            [str(each["metric"]), str(each["data"]), float(each["value"])]
            for each in json.loads(card).get("evaluation", [])
            if each.get("data")
        ]
    except (ValueError, AttributeError, TypeError, KeyError):
        return []


def _with(traits: str, scores: list[list[object]]) -> str:
    fields = json.loads(traits) | {"scores": scores}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
