"""Processes of ours apart from this one, for what might end or hold up whoever does it."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection

_TOLD = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR")


def told() -> dict[str, str]:
    """What they need of the environment; passwords and keys that it may hold are not told."""
    return {name: os.environ[name] for name in _TOLD if name in os.environ}


def begun(
    module: str, environment: Mapping[str, str] | None = None
) -> "tuple[subprocess.Popen[bytes], Connection]":
    """A process that runs a module of ours, and the line to it.

    The module is told the number of its end, and should return once that is closed.

    Raises:
        OSError: none can be begun.
    """
    mine, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (a module of ours)
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=told() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
            )
    except OSError:
        mine.close()
        raise
    return process, Connection(mine.detach())


def ended(process: "subprocess.Popen[bytes]", line: Connection) -> None:
    """End a process that was begun."""
    line.close()
    process.kill()
    process.wait()


def bound(most: int) -> None:
    """Let this process have only so many bytes of address space; the system says no to more."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
