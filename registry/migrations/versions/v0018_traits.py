"""Versions have what requests may choose them by, apart from their cards."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_TOGETHER = 1000


def upgrade() -> None:
    """Add the column, and fill it from the cards; of one that cannot be read nothing is known."""
    column = sa.Column("traits", sa.Text(), nullable=False, server_default="{}")
    op.add_column("versions", column)
    connection, last = op.get_bind(), 0
    some = sa.text("SELECT id, card FROM versions WHERE id > :last ORDER BY id LIMIT :count")
    filled = sa.text("UPDATE versions SET traits = :traits WHERE id = :id")
    while rows := connection.execute(some, {"last": last, "count": _TOGETHER}).all():
        connection.execute(filled, [{"id": row.id, "traits": _traits(row.card)} for row in rows])
        last = rows[-1].id


def _traits(card: str) -> str:
    try:
        fields = json.loads(card)
        tags = [str(tag).strip().casefold() for tag in fields.get("tags", [])]
        language, licence = (_folded(fields, *each) for each in (("language", "en"), ("license",)))
    except (ValueError, AttributeError, TypeError):
        return "{}"
    traits = {"language": language, "license": licence, "tags": tags}
    return json.dumps(traits, separators=(",", ":"), ensure_ascii=False)


def _folded(fields: dict[str, object], name: str, default: str = "") -> str:
    return str(fields.get(name) or default).strip().casefold()
