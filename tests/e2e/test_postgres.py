"""The registry on PostgreSQL: the same tests, several writers, and backups to and from SQLite."""

import json
import multiprocessing
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import postgres
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "unit"))
from tiny_adapter import BASE, card, config, weights  # noqa: E402

from registry import archive, reach  # noqa: E402
from registry.collection import collect  # noqa: E402
from registry.database import REVISION, Database  # noqa: E402
from registry.errors import StorageError  # noqa: E402
from registry.location import Location  # noqa: E402
from registry.registry import Registry  # noqa: E402
from registry.tables import metadata  # noqa: E402

SAME = (
    *("registry", "registry_model", "registry_aliases", "registry_lineage", "view", "listing"),
    *("keys", "trials", "collection", "audit", "gates", "conversations", "usage", "jobs"),
    *("batches", "router_batches", "router_fuzz"),
)
pytestmark = pytest.mark.skipif(not postgres.is_installed(), reason="no PostgreSQL is installed")


@pytest.fixture(scope="module")
def server():
    with postgres.server() as url:
        yield url


@pytest.fixture
def location(server, tmp_path, request):
    """A home whose database is a new one of the server's."""
    name = f"db_{abs(hash(request.node.name))}"
    postgres.create_database(server, name)
    return Location(tmp_path / "home", server.replace("/postgres?", f"/{name}?"))


def test_the_same_tests_pass_there(server):
    files = [str(ROOT / "tests" / "unit" / f"test_{name}.py") for name in SAME]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *files],
        env=os.environ | {"MYRIAD_TESTS_POSTGRES": server},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-1000:]
    assert int(ran.stdout.split(" passed")[0].split()[-1]) > 150


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_all_texts_is_refused(server, tmp_path, encoding):
    name = encoding.lower()
    asked = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    postgres.create_database(server, name, asked)
    with pytest.raises(StorageError, match=f"encoding is {encoding}.*'UTF8'"):
        Location(tmp_path, server.replace("/postgres?", f"/{name}?")).open()


def test_its_tables_are_those_that_the_code_uses(location):
    for _ in range(2):
        with closing(location.open()) as database, database.read() as connection:
            options = {"include_name": lambda name, kind, _: kind != "table" or name != "listing"}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, metadata) == []
            assert context.get_current_revision() == REVISION


def write(location, owner, count):
    registry = Registry.open(location, BASE)
    for seed in range(count):
        registry.register(card(f"{owner}/s{seed % 3}"), config(), weights(seed=seed))
    registry.close()


def test_a_follower_misses_nothing_of_writers_at_once(location):
    spawn = multiprocessing.get_context("spawn")
    Registry.open(location, BASE).close()
    writers = [spawn.Process(target=write, args=(location, owner, 20)) for owner in ("ada", "bob")]
    registry, seen = Registry.open(location, BASE), []
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers) or registry.generation() > len(seen):
        seen += [change.seq for change in registry.changes(len(seen))]
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen == list(range(1, 41))
    assert list(archive.problems(location)) == []
    assert collect(location).files == 0
    registry.close()


def test_backups_move_from_one_database_to_the_other(location, tmp_path):
    registry = Registry.open(tmp_path / "sqlite", BASE)
    for seed in range(3):
        registry.register(card("ada/coach", tags=["hr"]), config(), weights(seed=seed))
    registry.aliases.roll_back("ada/coach")
    registry.keys.create("x", ["infer"], "ada")
    archive.backup(tmp_path / "sqlite", tmp_path / "one.tar")
    archive.restore(tmp_path / "one.tar", location)
    with pytest.raises(StorageError, match="has a registry"):
        archive.restore(tmp_path / "one.tar", location)
    archive.backup(location, tmp_path / "two.tar")
    archive.restore(tmp_path / "two.tar", tmp_path / "again")
    there, again = Registry.open(location, BASE), Registry.open(tmp_path / "again", BASE)
    for other in (there, again):
        assert other.live() == registry.live()
        assert other.changes(0) == registry.changes(0)
        assert other.keys.list() == registry.keys.list()
        assert other.aliases.history("ada/coach", "prod") == registry.aliases.history(
            "ada/coach", "prod"
        )
        assert [found.id for found in other.search("coach", "hr", None, 5).data] == ["ada/coach"]
        version, _ = other.register(card("ada/coach"), config(), weights(seed=9))
        assert (version.number, other.aliases.roll_back("ada/coach").number) == (4, 2)
        other.close()
    for place in (location, tmp_path / "again"):
        assert list(archive.problems(place)) == []
    registry.close()


def test_what_cannot_be_reached_is_named_without_its_password(tmp_path):
    for url in ("postgresql://ada:secret@127.0.0.1:9/x", "mysql://ada:secret@host/x", "nonsense"):
        with pytest.raises(StorageError) as caught:
            Location(tmp_path, url).open()
        assert "secret" not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    one = text("SELECT 1")
    with postgres.controlled() as server, closing(Database.connect(server.url)) as database:
        with ExitStack() as lost, monkeypatch.context() as patch:
            patch.setattr(reach, "HURRY_SECONDS", 0.5)
            patch.setattr(reach, "PATIENCE_SECONDS", 1.0)

            def interrupted():
                with database.read() as connection:
                    lost.enter_context(server.frozen())
                    connection.execute(one)

            with pytest.raises(StorageError, match="says nothing"):
                interrupted()
            # Who comes now is not kept waiting, unless they look whether it is back.
            for asked in (database.read, database.write):
                with pytest.raises(StorageError, match="says nothing"), asked():
                    pass
            with pytest.raises(StorageError, match="timeout"):
                database.glance("SELECT 1")
        assert database.glance("SELECT 1") == 1
        for asked in (database.read, database.write):
            with asked() as connection:
                assert connection.scalar(one) == 1


def test_the_commands_use_it(location):
    ran = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "keys", "create", "app", "--owner", "ada", "--json"],
        env=os.environ | {"MYRIAD_HOME": str(location.home), "MYRIAD_DATABASE": location.database},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with closing(Database.connect(location.database)) as database, database.read() as connection:
        found = connection.scalar(text("SELECT id FROM keys"))
    assert found == json.loads(ran.stdout)["id"]
    assert not (location.home / "registry.db").exists()
