"""What the cluster leaves behind, and where: nothing of anybody else's is touched."""

import os
import signal
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from deploy.errors import InvalidSetting, StartFailed
from deploy.ray_cluster import (
    KEPT_SESSIONS,
    SESSIONS,
    START_TRIES,
    UNSTARTED,
    _start,
    adopt_sessions,
    forget_old_sessions,
    session_folder,
)
from deploy.settings import Settings
from deploy.up import _require_gpus
from registry.errors import StorageError

LONG = "a-home-with-a-name-that-is-much-too-long-for-a-socket"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def session(folder: Path, second: int) -> Path:
    made = folder / f"session_2026-11-25_10-00-{second:02}_123456_{1000 + second}"
    (made / "logs").mkdir(parents=True)
    return made


def test_the_last_runs_keep_their_logs_and_nothing_else_is_removed(tmp_path):
    made = [session(tmp_path, second) for second in range(6)]
    (tmp_path / "session_latest").symlink_to(made[-1])
    (tmp_path / "session_notes").mkdir()
    (tmp_path / "my-work").mkdir()
    forget_old_sessions(tmp_path)
    kept = {each.name for each in tmp_path.iterdir()}
    assert kept == {
        *(each.name for each in made[-KEPT_SESSIONS:]), "session_latest", "session_notes", "my-work"
    }  # fmt: skip
    assert (tmp_path / "session_latest" / "logs").is_dir()


@pytest.mark.parametrize("times", [0, 2, 3])
def test_ray_is_started_again_where_it_was_not_in_time(monkeypatch, times):
    started = []

    def init(**options):
        started.append(subprocess.Popen(["sleep", "900"]))
        if len(started) <= times:
            raise Exception(f"The current node {UNSTARTED}. This could happen because …")

    monkeypatch.setattr("ray.init", init)
    late = pytest.raises(StartFailed, match="the machine is too busy")
    with late if times == START_TRIES else nullcontext():
        _start(address="local")
    assert len(started) == min(times + 1, START_TRIES)
    # What did not stand is gone.
    assert all(each.wait() == -signal.SIGKILL for each in started[:times])
    for each in started[times:]:
        each.kill()
        each.wait()


def test_what_else_ray_says_is_passed_on(monkeypatch):
    def init(**options):
        raise ValueError("no such option")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ValueError, match="no such option"):
        _start(address="local")


def test_runs_of_older_releases_are_kept_with_the_others(tmp_path):
    old = session(tmp_path, 1)
    (tmp_path / "session_latest").symlink_to(old)
    (tmp_path / "s").mkdir()
    adopt_sessions(tmp_path / "s")
    assert (tmp_path / "s" / old.name / "logs").is_dir()
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_a_folder_called_ray_in_the_home_is_not_ours():
    assert session_folder(Path("/srv/m")) == Path("/srv/m") / SESSIONS
    assert SESSIONS.parts[0] != "ray"


def test_a_long_home_gets_a_place_of_its_own_closed_to_others(shared):
    one, two = (session_folder(Path("/srv") / LONG / name) for name in ("one", "two"))
    assert one != two
    assert one.parent == two.parent == shared / f"myriad-{os.getuid()}"
    assert one.parent.stat().st_mode & 0o077 == 0


def test_a_place_that_others_can_enter_is_closed(shared):
    ours = shared / f"myriad-{os.getuid()}"
    ours.mkdir(mode=0o777)
    ours.chmod(0o777)
    session_folder(Path("/srv") / LONG)
    assert ours.stat().st_mode & 0o077 == 0


def test_a_link_in_the_place_is_refused(shared):
    (shared / "elsewhere").mkdir()
    (shared / f"myriad-{os.getuid()}").symlink_to(shared / "elsewhere")
    with pytest.raises(StorageError, match="not a folder of yours"):
        session_folder(Path("/srv") / LONG)


def test_somebody_elses_folder_is_refused(shared, monkeypatch):
    (shared / "myriad-4711").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(StorageError, match="not a folder of yours"):
        session_folder(Path("/srv") / LONG)


@pytest.mark.parametrize(
    ("settings", "enough"),
    [
        ({"engine": {"device": "cuda"}}, True),
        ({"engine": {"device": "cuda", "replicas": 2}}, False),
        ({"engine": {"device": "cuda", "replicas": 2, "gpus": 0.5}}, True),
        ({"engine": {"device": "cuda"}, "training": {"gpus": 0.5}}, False),
        ({"engine": {"device": "cuda"}, "training": {"gpus": 0.5, "jobs": 0}}, True),
        ({"training": {"gpus": 0.5}}, True),
    ],
)
def test_gpus_that_are_not_there_are_not_waited_for(settings, enough, monkeypatch, tmp_path):
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0, "GPU": 1.0})
    with nullcontext() if enough else pytest.raises(InvalidSetting, match="GPUs"):
        _require_gpus(Settings(home=tmp_path, **settings))
