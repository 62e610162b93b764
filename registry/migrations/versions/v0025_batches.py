"""Files of requests that are answered in the background, and their answers until all are there."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Make the tables."""
    _make_batches()
    op.create_table(
        "batch_answers",
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("batch", "number", name="pk_batch_answers"),
        sa.ForeignKeyConstraint(["batch"], ["batches.seq"], "fk_batch_answers_batch"),
    )


def _make_batches() -> None:
    moments = ("began", "finishing", "cancelled", "ended")
    counts = ("total", "completed", "failed")
    op.create_table(
        "batches",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("id", line(40), nullable=False),
        sa.Column("owner", line(64)),
        sa.Column("actor", line(64)),
        sa.Column("base", line(256), nullable=False),
        sa.Column("endpoint", line(64), nullable=False),
        sa.Column("input", line(40), nullable=False),
        sa.Column("content", line(71), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("status", line(16), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        *(sa.Column(name, sa.DateTime()) for name in moments),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in counts),
        sa.Column("nbytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("problems", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("output", line(40)),
        sa.Column("failures", line(40)),
        sa.Column("holder", line(64)),
        sa.Column("until", sa.DateTime()),
        sa.Column("turn", sa.DateTime()),
        sa.PrimaryKeyConstraint("seq", name="pk_batches"),
        sa.UniqueConstraint("id", name="uq_batches_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_content", "batches", ["content"])
    op.create_index("ix_batches_owner_seq", "batches", ["owner", "seq"])
    op.create_index("ix_batches_status_seq", "batches", ["status", "seq"])
