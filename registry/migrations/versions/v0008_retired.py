"""When a specialist was retired: its aliases stay, and come back with it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; those without any alias were retired before there was one."""
    op.add_column("specialists", sa.Column("retired", sa.DateTime()))
    op.execute(
        "UPDATE specialists SET retired = CURRENT_TIMESTAMP WHERE NOT EXISTS "
        "(SELECT 1 FROM aliases WHERE aliases.specialist = specialists.id)"
    )
