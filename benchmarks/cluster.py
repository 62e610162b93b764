"""A real cluster for benchmarks to ask, on a free port."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cluster:
    """A running `myriad up`."""

    url: str
    process: int

    def parts(self, title: str) -> list[psutil.Process]:
        """Its processes that are at work as that, such as "ServeReplica:myriad:engine"."""
        return [each for each in self.family() if _at_work(_title(each), title)]

    def family(self) -> list[psutil.Process]:
        """All its processes."""
        up = psutil.Process(self.process)
        return [up, *up.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Of all threads, by the scheduler's count: ticks catch short turns or miss them."""
        tasks = (each for own in self.family() for each in Path(f"/proc/{own.pid}/task").iterdir())
        return sum(map(_nanoseconds, tasks)) / 1e9

    def open_files(self) -> int:
        """Files and sockets that its processes have open."""
        return sum(each.num_fds() for each in self.family())

    def memory(self) -> int:
        """Bytes that its processes take, shared ones divided among them."""
        return sum(each.memory_full_info().pss for each in self.family())


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Cluster]:
    """Start `myriad up`, and give it once it says that it is ready; stop it at the end."""
    own = {"MYRIAD_HOME": str(home), "MYRIAD_PORT": str(free_port())}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "up", "--json"],
            env=os.environ | own | settings,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                errors.seek(0)
                raise SystemExit(errors.read().decode())
            yield Cluster(json.loads(line)["url"], process.pid)
        finally:
            process.terminate()
            process.wait()


def _nanoseconds(task: Path) -> int:
    """For which a thread has run; none of one that has ended meanwhile."""
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _at_work(found: str, title: str) -> bool:
    return title in found and not found.endswith((".__init__", ".initialize_and_get_metadata"))


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""


def free_port() -> int:
    """One of this machine's that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
