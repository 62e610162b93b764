"""Who may find a specialist; everyone could find those of older releases."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    column = sa.Column("visibility", sa.String(8), nullable=False, server_default="private")
    op.add_column("specialists", column)
    op.execute("UPDATE specialists SET visibility = 'public'")
