"""The index of what lists and searches show, in place of words and tags of every version."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Number the specialists, make the index, and fill it with those in service."""
    seq = sa.Column("seq", sa.Integer(), nullable=False, server_default="0")
    op.add_column("specialists", seq)
    op.execute(
        "UPDATE specialists SET seq = numbered.place FROM (SELECT specialist, row_number() "
        "OVER (ORDER BY min(id)) AS place FROM versions GROUP BY specialist) AS numbered "
        "WHERE numbered.specialist = specialists.id"
    )
    op.create_index("ix_specialists_seq", "specialists", ["seq"], unique=True)
    op.create_index("ix_specialists_visibility_id", "specialists", ["visibility", "id"])
    op.create_index("ix_specialists_visibility_name", "specialists", ["visibility", "name"])
    _make()
    listing = sa.table("listing", sa.column("rowid"), sa.column("words"))
    for number, specialist, visibility, card in op.get_bind().execute(sa.text(_IN_SERVICE)):
        words = _words(specialist, json.loads(card), visibility)
        op.get_bind().execute(sa.insert(listing).values(rowid=number, words=words))
    op.drop_table("tags")
    op.drop_column("versions", "words")


_IN_SERVICE = (
    "SELECT seq, specialists.id, visibility, card FROM specialists "
    "JOIN aliases ON aliases.specialist = specialists.id AND alias = 'prod' "
    "JOIN versions ON versions.id = aliases.version WHERE retired IS NULL"
)


def _make() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE listing USING fts5(words, tokenize = 'trigram case_sensitive 1')"
        )
        return
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE TABLE listing (rowid INTEGER PRIMARY KEY, words TEXT NOT NULL)")
    op.execute("CREATE INDEX ix_listing_words ON listing USING gin (words gin_trgm_ops)")


def _words(specialist: str, card: dict[str, object], visibility: str) -> str:
    described, tags = card.get("description"), card.get("tags")
    marked = "".join(f"\3{tag}\3" for tag in tags) if isinstance(tags, list) else ""
    seen = "\1\1\1" if visibility == "public" else ""
    told = described if isinstance(described, str) else ""
    return f"\2{specialist}\n{told}\n{marked}{seen}".casefold()
