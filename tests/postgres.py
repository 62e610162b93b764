"""A PostgreSQL server of the tests' own, for as long as a context is open."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
USER = "postgres"


def is_installed() -> bool:
    """Whether there is a server to start."""
    return bool(FOLDERS) or shutil.which("postgres") is not None


@contextmanager
def server() -> Iterator[str]:
    """Start one in a folder of its own, and give the URL of its first database.

    It sorts names as English does, not by their bytes: who relies on those is found out.
    """
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        data = Path(folder, "data")
        _give(Path(folder))
        locale = ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"]
        _run("initdb", "--no-sync", "--username", USER, "--auth=trust", *locale, str(data))
        options = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories={folder}"
        log = str(Path(folder, "log"))
        _run("pg_ctl", "--wait", "--pgdata", str(data), "--log", log, "--options", options, "start")
        try:
            yield f"postgresql://{USER}@/postgres?host={folder}"
        finally:
            _run("pg_ctl", "--wait", "--pgdata", str(data), "--mode=immediate", "stop")


def _run(command: str, *words: str) -> None:
    path = FOLDERS[-1] / command if FOLDERS else shutil.which(command)
    subprocess.run([str(path), *words], check=True, stdout=subprocess.DEVNULL, **_as_somebody())


def _give(folder: Path) -> None:
    """PostgreSQL runs as anybody but root."""
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)


def _as_somebody() -> dict[str, str]:
    return {"user": USER, "cwd": "/"} if os.geteuid() == 0 else {}
