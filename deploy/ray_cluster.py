"""A Ray cluster of this machine alone, with a token of its own, under one home folder."""

import hashlib
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import psutil

from deploy.errors import StartFailed
from registry.private import private_folder
from specialists.machine import cores

logger = logging.getLogger(__name__)

SOCKET_PATH_ROOM = 107 - len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
"""Characters that Linux (sun_path) leaves for the folder below which Ray puts its sockets."""
SESSIONS = Path(".ray") / "s"
"""Two folders, since Ray opens the one that it is given to every user; short, for its sockets."""
SESSION = re.compile(r"session_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d+_\d+")
KEPT_SESSIONS = 3
"""Runs whose logs are kept, so that a supervisor's restart does not erase why the last one died."""
LOG_ENVIRONMENT = {
    # Without a bound a log of requests fills the disk. An operator may want another one.
    "RAY_ROTATION_MAX_BYTES": str(32 << 20),
    "RAY_ROTATION_BACKUP_COUNT": "3",
}
SERVE_ENVIRONMENT = {
    **LOG_ENVIRONMENT,
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.front.middlewares",
    # A proxy that was lost is missed within a second or two, not within ten or more.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # One that starts is not given up as lost: on a busy machine that may take half a minute.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
    # Looking around twice a second takes half the CPU time of ten times, and starts as quickly.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # Counts are handed on ten times a second otherwise, for scrapes that come every ten seconds.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
    # Ray would have replicas give way to every other program: beside two that compute, on two
    # cores, an answer was seen to take 800 times as long, and 8 times with an equal share.
    "RAY_worker_niceness": "0",
}
"""What every node of a cluster needs, wherever it runs."""
ALONE_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Times of Ray's own steps, and how busy the machine is: nobody here reads either.
    "RAY_event_stats": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
"""What a cluster of one machine does without."""
OBJECT_STORE_BYTES = 100 * 1024 * 1024
START_TRIES = 3
UNSTARTED = "timed out during startup"
"""What Ray says of itself then; it has no error of its own for it."""
UNASKED = ("log_monitor", "monitor", "dashboard")
"""Processes of Ray's that nobody here asks anything: they read logs aloud to drivers, add machines,
and show both in a browser. They take 1% of a core and 170 MB of an idle cluster."""


@contextmanager
def ray_cluster(
    home: Path, cpus: int, resources: Mapping[str, float] | None = None
) -> Iterator[None]:
    """Run Ray while the context is open; everything it started is gone after it.

    Args:
        home: folder of its token, sockets and logs.
        cpus: that replicas reserve, and that they must find on however few cores.
        resources: of Ray's, that others reserve.

    Raises:
        StartFailed: it did not start in time.
    """
    os.environ.update(cluster_environment(home))
    folder = session_folder(home)
    private_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    adopt_sessions(folder)
    forget_old_sessions(folder)
    # Imported here: Ray reads its environment when it is imported.
    import ray

    _start(
        address="local",
        num_cpus=max(cores(), cpus),
        resources=dict(resources or {}),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
    )
    # `ray start` has options for this, `ray.init` has none. Ray goes on where one did not start.
    for each in UNASKED:
        node = ray._private.worker.global_worker.node
        node._kill_process_type(each, check_alive=False, wait=True)
    # Ray prints there what it has in its logs too, and waits for whoever reads it: a supervisor may
    # read our one line and nothing else.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _start(**options: Any) -> None:
    """Start Ray, once more if need be: it gives itself up after half a minute of a busy machine."""
    import ray

    for tries in range(START_TRIES, 0, -1):
        before = set(psutil.Process().children())
        try:
            ray.init(**options)
            return
        except Exception as error:
            if UNSTARTED not in str(error):
                raise
            for each in set(psutil.Process().children()) - before:
                each.kill()
            if tries == 1:
                raise StartFailed("Ray did not start in time: the machine is too busy") from error
            logger.warning("Ray did not start in time, and is started again")


def session_folder(home: Path) -> Path:
    """Where Ray keeps sockets and logs: in the home, or elsewhere when its path is too long.

    Raises:
        StorageError: the place elsewhere is somebody else's.
    """
    inside = home / SESSIONS
    if len(str(inside)) <= SOCKET_PATH_ROOM:
        return inside
    # Anyone may make a folder in a shared place first: it must be ours, and closed to others.
    ours = private_folder(Path(tempfile.gettempdir()) / f"myriad-{os.getuid()}")
    return ours / hashlib.sha256(str(home).encode()).hexdigest()[:12]


def adopt_sessions(folder: Path) -> None:
    """Move in what older releases kept a folder higher, so that it is forgotten in its turn."""
    for each in _sessions(folder.parent):
        each.rename(folder / each.name)
    (folder.parent / "session_latest").unlink(missing_ok=True)


def forget_old_sessions(folder: Path) -> None:
    """Remove the logs of all but the last runs, and nothing that Ray did not make."""
    for old in _sessions(folder)[:-KEPT_SESSIONS]:
        shutil.rmtree(old, ignore_errors=True)


def _sessions(folder: Path) -> list[Path]:
    """Ray's folders of runs, the oldest first."""
    named = (each for each in folder.iterdir() if SESSION.fullmatch(each.name))
    return sorted(each for each in named if not each.is_symlink())


def cluster_environment(home: Path) -> dict[str, str]:
    """What every process of a cluster is started with; its token is made if need be."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_token(home)),
        **ALONE_ENVIRONMENT,
        **SERVE_ENVIRONMENT,
        **{name: os.environ.get(name, value) for name, value in LOG_ENVIRONMENT.items()},
    }


def _token(home: Path) -> Path:
    file = home / "ray-token"
    if not file.exists():
        draft = file.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        draft.replace(file)
    return file
