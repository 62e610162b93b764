"""Which weights each base's name stands for in this registry."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of bases; a base is entered when the registry is next opened for it."""
    op.create_table(
        "bases",
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_bases"),
    )
