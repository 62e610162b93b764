"""Backup, restore, verify: nothing is lost, and what is damaged is found."""

import io
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing

import homes
import pytest
from cli_world import myriad
from tiny_adapter import BASE, card, config, weights

from registry import archive
from registry.archive import backup, problems, restore
from registry.blobs import BlobStore
from registry.errors import StorageError
from registry.registry import Registry

COACH = "ada/coach"


@pytest.fixture
def home(tmp_path):
    """Three versions of one specialist, one of them a candidate; a retired one."""
    registry = homes.open_registry(tmp_path / "home")
    for seed in range(3):
        fields = {"private_examples": ["what I asked"], "tags": ["pay"]}
        registry.register(card(COACH, **fields), config(), weights(seed=seed))
    registry.aliases.promote(f"{COACH}@1", "candidate")
    registry.aliases.roll_back(COACH)
    registry.register(card("bob/gone"), config(), weights(seed=9))
    registry.retire("bob/gone")
    registry.close()
    return tmp_path / "home"


def everything(home):
    registry = Registry.open(home, BASE)
    try:
        versions = [
            (
                each.digest,
                registry.card(each.digest),
                registry.files(each.digest).weights.read_bytes(),
            )
            for each in registry.versions(COACH)
        ]
        moves = registry.aliases.history(COACH, "prod")
        return versions, registry.aliases.of(COACH), moves, registry.changes(0)
    finally:
        registry.close()


def test_a_restored_home_is_the_same_home(home, tmp_path):
    told = []
    saved = backup(home, tmp_path / "saved.tar", lambda *now: told.append(now))
    assert (saved.versions, saved.blobs) == (4, 5)
    assert told[-1] == (5, 5)
    assert stat.S_IMODE((tmp_path / "saved.tar").stat().st_mode) == 0o600
    assert restore(tmp_path / "saved.tar", tmp_path / "other") == saved
    assert everything(tmp_path / "other") == everything(home)
    assert list(problems(tmp_path / "other")) == []


def test_a_backup_is_made_beside_a_writer(home, tmp_path):
    registry = Registry.open(home, BASE)
    began, done = threading.Event(), threading.Event()

    def write():
        while not done.wait(0.001):
            registry.aliases.promote(f"{COACH}@1")
            registry.aliases.promote(f"{COACH}@2")
            began.set()

    writer = threading.Thread(target=write)
    writer.start()
    began.wait()
    backup(home, tmp_path / "saved.tar")
    done.set()
    writer.join()
    registry.register(card("eve/later"), config(), weights(seed=20))
    registry.close()
    restore(tmp_path / "saved.tar", tmp_path / "other")
    with closing(Registry.open(tmp_path / "other", BASE)) as restored:
        assert restored.count() == 1


def test_a_home_with_a_registry_is_not_overwritten(home, tmp_path):
    backup(home, tmp_path / "saved.tar")
    with pytest.raises(StorageError, match="another home"):
        restore(tmp_path / "saved.tar", home)


def blob(home, at=0):
    """One of those that the database names."""
    names, _ = archive._named(home / "registry.db")
    return BlobStore(home / "blobs").path(names[at])


def test_damage_is_found_and_not_backed_up(home, tmp_path):
    assert list(problems(home)) == []
    blob(home).write_bytes(b"other")
    blob(home, 1).unlink()
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE versions SET card = '{}' WHERE number = 2")
    found = list(problems(home))
    assert len(found) == 4
    assert "ada/coach is listed otherwise than it is." in found
    assert "ada/coach@2 is not what its digest says." in found
    assert sum("damaged" in each for each in found) == 1
    with pytest.raises(StorageError):
        backup(home, tmp_path / "saved.tar")
    assert not (tmp_path / "saved.tar").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def repacked(source, target, change):
    """A backup whose members were changed on the way."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member).read()
            for name, data in change(member.name, content):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    return target


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, data: [(name, data + b"x" if "blobs" in name else data)], "other content"),
        (lambda name, data: [(name, data)] if "blobs" not in name else [], "not whole"),
        (lambda name, data: [(name, data)] if "blobs" in name else [], "no backup"),
        (lambda name, data: [(name, data), ("../evil", b"x")], "no backup"),
        (lambda name, data: [("/etc/" + name, data)], "no backup"),
        (
            lambda name, data: [(name, data if "blobs" in name else b"no database")],
            "not a database",
        ),
    ],
)
def test_what_is_no_whole_backup_leaves_no_registry(home, tmp_path, change, said):
    backup(home, tmp_path / "saved.tar")
    bad = repacked(tmp_path / "saved.tar", tmp_path / "bad.tar", change)
    with pytest.raises(StorageError, match=said):
        restore(bad, tmp_path / "other")
    assert not (tmp_path / "other" / archive.DATABASE).exists()
    assert not (tmp_path.parent / "evil").exists()
    restore(tmp_path / "saved.tar", tmp_path / "other")
    assert everything(tmp_path / "other") == everything(home)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_file_that_is_cut_off_is_refused(home, tmp_path, size):
    backup(home, tmp_path / "saved.tar")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "saved.tar").read_bytes()[:size])
    with pytest.raises(StorageError):
        restore(tmp_path / "cut.tar", tmp_path / "other")


def test_the_commands(home, tmp_path, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(home))
    saved = myriad("registry", "backup", str(tmp_path / "new" / "saved.tar"))
    assert saved.code == 0
    assert "4 versions in 5 blobs" in saved.out
    assert myriad("registry", "verify").out.endswith("All is sound.\n")
    refused = myriad("registry", "restore", str(tmp_path / "new" / "saved.tar"))
    assert (refused.code, "another home" in refused.err) == (1, True)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "other"))
    assert myriad("registry", "restore", str(tmp_path / "new" / "saved.tar")).code == 0
    blob(tmp_path / "other").unlink()
    broken = myriad("registry", "verify")
    assert (broken.code, "Cannot read" in broken.out) == (1, True)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "nothing"))
    assert myriad("registry", "verify").code == 1
