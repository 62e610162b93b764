"""Files to be trained on, trainings, and what there is to tell of them."""

import sqlalchemy as sa
from alembic import op

from registry.column_types import line

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the tables."""
    _make_files()
    _make_jobs()
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("level", line(8), nullable=False),
        sa.Column("kind", line(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("id", name="pk_job_events"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], "fk_job_events_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job_id", "job_events", ["job", "id"])


def _make_files() -> None:
    op.create_table(
        "files",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("id", line(40), nullable=False),
        sa.Column("owner", line(64)),
        sa.Column("name", line(256), nullable=False),
        sa.Column("purpose", line(32), nullable=False),
        sa.Column("content", line(71), nullable=False),
        sa.Column("nbytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_files"),
        sa.UniqueConstraint("id", name="uq_files_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_files_content", "files", ["content"])
    op.create_index("ix_files_owner_seq", "files", ["owner", "seq"])


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("id", line(40), nullable=False),
        sa.Column("owner", line(64)),
        sa.Column("actor", line(64)),
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("base", line(256), nullable=False),
        sa.Column("specialist", line(129), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("training", line(71), nullable=False),
        sa.Column("validation", line(71)),
        sa.Column("status", line(16), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("began", sa.DateTime()),
        sa.Column("ended", sa.DateTime()),
        sa.Column("expected", sa.DateTime()),
        sa.Column("holder", line(64)),
        sa.Column("until", sa.DateTime()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("checkpoint", line(71)),
        sa.Column("outcome", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("seq", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
        sqlite_autoincrement=True,
    )
    for columns in (("training",), ("validation",), ("checkpoint",)):
        op.create_index(f"ix_jobs_{columns[0]}", "jobs", list(columns))
    op.create_index("ix_jobs_owner_seq", "jobs", ["owner", "seq"])
    op.create_index("ix_jobs_status_seq", "jobs", ["status", "seq"])
