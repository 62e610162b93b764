"""A running cluster, driven from outside as a user would."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from openai import OpenAI
from patience import HANGS

PORTS = 20_000, 32_768
"""Below those that Linux gives, above those that Ray takes."""
LOG_BYTES = 50_000
"""Of each file that a process of the shared cluster logs to."""


@dataclass
class Cluster:
    """A running `myriad up`."""

    process: subprocess.Popen
    url: str
    home: Path
    log: Path
    seconds: float

    @property
    def environment(self) -> dict[str, str]:
        port = self.url.rsplit(":", 1)[1]
        return os.environ | {"MYRIAD_HOME": str(self.home), "MYRIAD_PORT": port}

    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0, timeout=HANGS)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=HANGS)

    def command(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANGS,
        )

    def family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def named(self, title: str) -> list[psutil.Process]:
        """Those of its processes whose command line has a text in it."""
        return [each for each in self.family() if title in " ".join(command_of(each))]


def furnish(home: Path, prepared: Path) -> None:
    """Give a home the base of another one, and the vectors that were made there so far."""
    (home / "base").symlink_to(prepared / "base")
    if (prepared / "cache").exists():
        ignored = shutil.ignore_patterns(".part-*", "routes-*")
        shutil.copytree(prepared / "cache", home / "cache", ignore=ignored)


def command_of(process: psutil.Process) -> list[str]:
    """Its words; none of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def free_port() -> int:
    """One that nobody is given who asks for any: such a port could be another's when it is used."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(home: Path, port: int, log: Path, **environment: str) -> Iterator[Cluster]:
    """Start `myriad up --json`, wait until it says that it is ready, stop it at the end."""
    settings = {"MYRIAD_HOME": str(home), "MYRIAD_PORT": str(port)} | environment
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "up", "--json"],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        line = process.stdout.readline()
        assert line, f"`myriad up` ended early:\n{log.read_text()}"
        ready = json.loads(line)
        assert ready["event"] == "ready"
        yield Cluster(process, ready["url"], home, log, ready["seconds"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(HANGS)
        process.stdout.close()
