"""Types of columns that behave alike in SQLite and PostgreSQL."""

from sqlalchemy import String
from sqlalchemy.dialects.postgresql import VARCHAR


def line(length: int) -> String:
    """A short text, sorted by its bytes in PostgreSQL too, so that ranges of names hold."""
    return String(length).with_variant(VARCHAR(length, collation="C"), "postgresql")
