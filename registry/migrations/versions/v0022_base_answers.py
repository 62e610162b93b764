"""Answers of the base are rated too: feedback need not be of a version."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Let the column be empty."""
    with op.batch_alter_table("feedback") as table:
        table.alter_column("version", existing_type=sa.Integer(), nullable=True)
