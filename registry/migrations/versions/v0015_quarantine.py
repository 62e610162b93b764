"""Versions that nobody is answered by until an admin released them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    op.add_column("versions", sa.Column("quarantined", sa.String(500)))
