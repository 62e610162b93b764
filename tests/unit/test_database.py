import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select

from registry.database import REVISION, Database
from registry.errors import StorageError
from registry.migrations.upgrade import alembic_config
from registry.sqlite import journal_mode
from registry.tables import metadata, specialists


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path / "registry.db")
    yield database
    database.close()


def add(connection, name):
    connection.execute(insert(specialists).values(id=f"ada/{name}", name=name, seq=len(name)))


def names(database):
    with database.read() as connection:
        return sorted(connection.scalars(select(specialists.c.name)))


def test_the_migrations_make_the_tables_that_the_code_uses(database):
    with database.read() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or "listing" not in name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


def test_the_revision_that_is_compared_is_the_migrations_last():
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == REVISION


def test_an_up_to_date_database_opens_without_migrating(database, tmp_path, monkeypatch):
    monkeypatch.setattr("registry.migrations.upgrade.upgrade", None)
    Database.open(tmp_path / "registry.db").close()


def test_a_migration_that_fails_leaves_no_tables(tmp_path, monkeypatch):
    file = tmp_path / "registry.db"
    monkeypatch.setattr("sqlalchemy.DateTime", None)
    with pytest.raises(TypeError):
        Database.open(file)
    monkeypatch.undo()
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    Database.open(file).close()


def test_a_database_of_a_newer_release_is_refused_unchanged(database, tmp_path):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="newer release"):
        Database.open(tmp_path / "registry.db")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "registry.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match="not a database"):
        Database.open(tmp_path / "registry.db")


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 6, 23), "WAL"),
        ((3, 7, 0), "TRUNCATE"),
        ((3, 40, 1), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_the_journal_avoids_sqlites_corruption(version, mode):
    assert journal_mode(version) == mode


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_either_journal_serves(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("registry.sqlite.journal_mode", lambda version: mode)
    database = Database.open(tmp_path / "registry.db")
    with database.write() as connection:
        add(connection, "coach")
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == mode.lower()
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert names(database) == ["coach"]
    database.close()


def test_a_write_that_fails_changes_nothing(database):
    def fail():
        with database.write() as connection:
            add(connection, "coach")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(database) == []


def test_the_databases_own_errors_are_translated(database):
    def add_twice():
        with database.write() as connection:
            add(connection, "coach")
            add(connection, "coach")

    with pytest.raises(StorageError, match="UNIQUE"):
        add_twice()
    assert names(database) == []


def test_a_writer_has_its_lock_before_it_reads_and_readers_go_on(database, tmp_path):
    """Two that read first and write later could each wait for the other, and one would fail."""
    other = sqlite3.connect(tmp_path / "registry.db", timeout=0)
    with database.write() as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        assert names(database) == []
        add(connection, "coach")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    assert names(database) == ["coach"]


def test_whoever_meets_a_lock_waits_for_it(database):
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000
