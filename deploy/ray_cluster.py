"""A Ray cluster of this machine alone, with a token of its own, under one home folder."""

import hashlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_PATH_ROOM = 107 - len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
"""Characters that Linux (sun_path) leaves for the folder below which Ray puts its sockets."""
OBJECT_STORE_BYTES = 100 * 1024 * 1024


@contextmanager
def ray_cluster(home: Path, engines: int) -> Iterator[None]:
    """Run Ray while the context is open; everything it started is gone after it.

    Args:
        home: folder of its token, sockets and logs.
        engines: replicas that must find room, on however few cores.
    """
    os.environ.update(_environment(home))
    folder = session_folder(home)
    shutil.rmtree(folder, ignore_errors=True)
    # Imported here: Ray reads its environment when it is imported.
    import ray

    ray.init(
        address="local",
        num_cpus=max(os.cpu_count() or 1, engines),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
    )
    try:
        yield
    finally:
        ray.shutdown()


def session_folder(home: Path) -> Path:
    """Where Ray keeps sockets and logs: in the home, or elsewhere when its path is too long."""
    inside = home / "ray"
    if len(str(inside)) <= SOCKET_PATH_ROOM:
        return inside
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"myriad-{os.getuid()}-{name}"


def _environment(home: Path) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_token(home)),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def _token(home: Path) -> Path:
    file = home / "ray-token"
    if not file.exists():
        draft = file.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        draft.replace(file)
    return file
