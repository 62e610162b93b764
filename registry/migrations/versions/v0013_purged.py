"""Versions whose files may go, and leases that keep files."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column, the table, and indexes from files to versions."""
    op.add_column("versions", sa.Column("purged", sa.DateTime()))
    op.create_index("ix_versions_config", "versions", ["config"])
    op.create_index("ix_versions_weights", "versions", ["weights"])
    op.create_table(
        "leases",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(71)),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
    )
