"""Held-out scores that versions were given after they were registered."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "scores",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("metric", line(64), nullable=False),
        sa.Column("data", line(256), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("base_value", sa.Float()),
        sa.Column("rows", sa.Integer()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", "metric", "data", name="pk_scores"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_scores_version"),
    )
