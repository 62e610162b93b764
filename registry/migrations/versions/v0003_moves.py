"""Where aliases have pointed, and which of them are protected."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the two tables; what aliases point to now is their first move."""
    op.create_table(
        "moves",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("before", sa.Integer()),
        sa.Column("reason", sa.String(500)),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_moves"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_moves_specialist"),
        sa.ForeignKeyConstraint(["version"], ["versions.id"], "fk_moves_version"),
        sa.ForeignKeyConstraint(["before"], ["moves.id"], "fk_moves_before"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_moves_specialist_alias_id", "moves", ["specialist", "alias", "id"])
    op.create_table(
        "protections",
        sa.Column("specialist", sa.String(129), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("specialist", "alias", name="pk_protections"),
        sa.ForeignKeyConstraint(["specialist"], ["specialists.id"], "fk_protections_specialist"),
    )
    op.execute(
        "INSERT INTO moves (specialist, alias, version, created) "
        "SELECT aliases.specialist, aliases.alias, aliases.version, versions.created "
        "FROM aliases JOIN versions ON versions.id = aliases.version "
        "ORDER BY aliases.specialist, aliases.alias"
    )
