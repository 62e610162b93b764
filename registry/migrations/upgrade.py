"""Bring a database up to date within the caller's transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from registry.errors import StorageError


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
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise StorageError(
            f"A newer release has written the registry ({error}). Install that release."
        ) from error
