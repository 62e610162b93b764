"""Trials belong to an alias; those that there were belong to `prod`."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the table anew under another name, since its key is another."""
    op.create_table(
        "trials",
        sa.Column("specialist", line(129), nullable=False),
        sa.Column("alias", line(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("margin", sa.Float(), nullable=False, server_default="0.1"),
        sa.Column("least", sa.Integer(), nullable=False, server_default="20"),
        sa.Column("began", sa.DateTime()),
        sa.Column("verdict", line(500)),
        sa.PrimaryKeyConstraint("specialist", "alias", name="pk_trials"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_trials_specialist"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_trials_version"),
    )
    op.execute(
        "INSERT INTO trials (specialist, alias, version, share, margin, least, began, verdict) "
        "SELECT specialist, 'prod', version, share, margin, least, began, verdict FROM canaries"
    )
    op.drop_table("canaries")
