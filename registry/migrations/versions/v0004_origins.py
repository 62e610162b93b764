"""What versions were made from."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table; bases and held-out data are known of the versions that are there."""
    origins = op.create_table(
        "origins",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("relation", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("label", sa.String(256), nullable=False),
        sa.Column("license", sa.String(256)),
        sa.PrimaryKeyConstraint("version", "relation", "subject", name="pk_origins"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_origins_version"),
    )
    op.create_index("ix_origins_relation_subject", "origins", ["relation", "subject"])
    op.create_index("ix_origins_relation_label", "origins", ["relation", "label"])
    known = op.get_bind().execute(sa.text("SELECT id, base, card FROM versions")).all()
    for version, base, card in known:
        op.bulk_insert(origins, _rows(version, base, card))


def _rows(version: int, base: str, card: str) -> list[dict[str, object]]:
    scores = json.loads(card).get("evaluation") or []
    data = dict.fromkeys(score.get("data") for score in scores if score.get("data"))
    found = [("base", base), *(("evaluation", each) for each in data)]
    return [
        {"version": version, "relation": relation, "subject": subject, "label": subject}
        for relation, subject in found
    ]
