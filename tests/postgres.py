"""A PostgreSQL server of the tests' own, for as long as a context is open."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
USER = "postgres"


def is_installed() -> bool:
    """Whether there is a server to start."""
    return bool(FOLDERS) or shutil.which("postgres") is not None


class Server:
    """One in a folder of its own, that can be killed and started again.

    It sorts names as English does, not by their bytes: who relies on those is found out.
    """

    def __init__(self, folder: str) -> None:
        self._data, self._folder = Path(folder, "data"), folder
        self.url = f"postgresql://{USER}@/postgres?host={folder}"
        _give(Path(folder))
        locale = ["--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"]
        auth = ["--username", USER, "--auth=trust"]
        _run("initdb", "--no-sync", *auth, *locale, str(self._data))
        self.start()

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories={self._folder}"
        log = str(Path(self._folder, "log"))
        words = ["--wait", "--pgdata", str(self._data), "--log", log, "--options", options]
        _run("pg_ctl", *words, "start")

    def kill(self) -> None:
        """Stop it as a crash would."""
        _run("pg_ctl", "--wait", "--pgdata", str(self._data), "--mode=immediate", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it say nothing, as if the line to it were cut; connections stay."""
        first = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        processes = [first, *first.children(recursive=True)]
        for each in processes:
            each.suspend()
        try:
            yield
        finally:
            for each in processes:
                each.resume()


@contextmanager
def controlled() -> Iterator[Server]:
    """Start one, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        made = Server(folder)
        try:
            yield made
        finally:
            made.kill()


@contextmanager
def server() -> Iterator[str]:
    """Start one, and give the URL of its first database."""
    with controlled() as made:
        yield made.url


def create_database(url: str, name: str, asked: str = "") -> None:
    """Make one on the server of a URL, as the words of CREATE DATABASE ask."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} {asked}"))
    engine.dispose()


def _run(command: str, *words: str) -> None:
    path = FOLDERS[-1] / command if FOLDERS else shutil.which(command)
    subprocess.run([str(path), *words], check=True, stdout=subprocess.DEVNULL, **_as_somebody())


def _give(folder: Path) -> None:
    """PostgreSQL runs as anybody but root."""
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)


def _as_somebody() -> dict[str, str]:
    return {"user": USER, "cwd": "/"} if os.geteuid() == 0 else {}
