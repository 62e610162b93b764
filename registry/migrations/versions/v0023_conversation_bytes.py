"""What conversations weigh; those of older releases count nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the column, and let an owner's be summed up by an index alone."""
    nbytes = sa.Column("nbytes", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("conversations", nbytes)
    op.drop_index("ix_conversations_owner_seq", "conversations")
    columns = ["owner", "seq", "nbytes"]
    op.create_index("ix_conversations_owner_seq_nbytes", "conversations", columns)
