"""Quotas of keys, and what versions weigh; those of older releases count nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("keys", sa.Column("quota", sa.Text(), nullable=False, server_default="{}"))
    nbytes = sa.Column("nbytes", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("versions", nbytes)
