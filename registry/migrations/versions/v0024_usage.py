"""What was used, by day, key, and who answered."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", line(256), nullable=False),
        sa.Column("key", line(16), nullable=False),
        sa.Column("owner", line(64)),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
        ),
        sa.PrimaryKeyConstraint("day", "model", "key", name="pk_usage"),
    )
    op.create_index("ix_usage_model_day", "usage", ["model", "day"])
    op.create_index("ix_usage_owner_day", "usage", ["owner", "day"])
