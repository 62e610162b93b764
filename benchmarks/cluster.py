"""A real cluster for benchmarks to ask, on a free port."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(home: Path, **settings: str) -> Iterator[str]:
    """Start `myriad up`, and give its URL once it says that it is ready; stop it at the end."""
    own = {"MYRIAD_HOME": str(home), "MYRIAD_PORT": str(_free_port())}
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
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
