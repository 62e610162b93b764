"""Versions that nobody is answered by until an admin released them."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    op.add_column("versions", sa.Column("quarantined", line(500)))
