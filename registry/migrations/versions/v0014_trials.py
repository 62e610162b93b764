"""How trials go: when one is taken back, how answers ended, what people said of them."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns and make the tables."""
    for column in (
        sa.Column("margin", sa.Float(), nullable=False, server_default="0.1"),
        sa.Column("least", sa.Integer(), nullable=False, server_default="20"),
        sa.Column("began", sa.DateTime()),
        sa.Column("verdict", sa.String(500)),
    ):
        op.add_column("canaries", column)
    op.create_table(
        "outcomes",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_outcomes"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_outcomes_version"),
    )
    op.create_table(
        "feedback",
        sa.Column("answer", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rating", sa.String(8), nullable=False),
        sa.Column("correction", sa.Text()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("answer", name="pk_feedback"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_feedback_version"),
    )
    op.create_index("ix_feedback_version_created", "feedback", ["version", "created"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
