"""Specialists, their versions, tags and aliases, and the log of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "specialists",
        sa.Column("id", sa.String(129), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_specialists"),
    )
    op.create_index("ix_specialists_name", "specialists", ["name"])
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("base", sa.String(256), nullable=False),
        sa.Column("config", sa.String(71), nullable=False),
        sa.Column("weights", sa.String(71), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_versions_specialist"),
        sa.UniqueConstraint("digest", name="uq_versions_digest"),
        sa.UniqueConstraint("specialist", "number", name="uq_versions_specialist_number"),
    )
    op.create_table(
        "tags",
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tag", "version", name="pk_tags"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_tags_version"),
    )
    op.create_table(
        "aliases",
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("specialist", "alias", name="pk_aliases"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_aliases_specialist"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_aliases_version"),
    )
    op.create_index("ix_aliases_version", "aliases", ["version"])
    op.create_index("ix_aliases_alias_specialist", "aliases", ["alias", "specialist"])
    op.create_table(
        "changes",
        sa.Column("seq", sa.Integer(), autoincrement=True, primary_key=True),
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_changes_specialist"),
        sqlite_autoincrement=True,
    )
