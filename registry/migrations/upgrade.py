"""Bring a database up to date within the caller's transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from registry.errors import StorageError
from registry.listing import create as create_listing
from registry.tables import metadata

VERSIONS = "alembic_version"


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings, without a file of them."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(connection: Connection) -> None:
    """Run the steps that the database lacks.

    Raises:
        StorageError: the database is at a step that this release does not know.
    """
    config = alembic_config(connection)
    try:
        if connection.dialect.name != "sqlite" and not inspect(connection).has_table(VERSIONS):
            # Where SQLite was before 0014 PostgreSQL never was; it begins where the tables stand.
            metadata.create_all(connection)
            create_listing(connection)
            command.stamp(config, "head")
        else:
            command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(
            f"A newer release has written the registry ({error}). Install that release."
        ) from error
