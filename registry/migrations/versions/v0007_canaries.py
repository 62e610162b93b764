"""Versions that some of the requests for `prod` get, while they are tried."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "canaries",
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("specialist", name="pk_canaries"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_canaries_specialist"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_canaries_version"),
    )
