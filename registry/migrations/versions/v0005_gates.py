"""What a version must have scored before an alias is pointed to it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table; moves say what was overridden."""
    op.create_table(
        "gates",
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("specialist", "alias", name="pk_gates"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_gates_specialist"),
    )
    op.add_column("moves", sa.Column("overridden", sa.Text()))
