"""Conversations that were asked to be kept; who said what they think of an answer."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Make the table, and the column."""
    op.create_table(
        "conversations",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("id", line(100), nullable=False),
        sa.Column("owner", line(64)),
        sa.Column("base", line(256), nullable=False),
        sa.Column("specialist", line(129)),
        sa.Column("model", line(256), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("seq", name="pk_conversations"),
        sa.UniqueConstraint("id", name="uq_conversations_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_owner_seq", "conversations", ["owner", "seq"])
    op.create_index("ix_conversations_specialist_seq", "conversations", ["specialist", "seq"])
    op.create_index("ix_conversations_created", "conversations", ["created"])
    op.add_column("feedback", sa.Column("owner", line(64)))
