"""What our figures are compared with: each peer is a process that is asked over its stdin."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
"""What `make peers` installs into."""
VLLM = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
"""What `make vllm` installs into."""

Peer = Callable[..., dict[str, float]]
"""Rows, tokens of each prompt, and of each answer, to what the peer says of them. Names what else
is asked of some peers."""


def environment(python: str | Path) -> dict[str, str]:
    """A peer's; vLLM asks for Intel's OpenMP library, which it brings along, to be loaded first."""
    openmp = Path(python).parents[1] / "lib" / "libiomp5.so"
    return ({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}) | dict(os.environ)


@contextmanager
def peer(python: str | Path, script: str, *arguments: object) -> Iterator[Peer | None]:
    """Start a script of this folder; None where its interpreter is not installed."""
    if not Path(python).exists():
        yield None
        return
    process = subprocess.Popen(
        [python, Path(__file__).parent / script, *map(str, arguments)],
        env=environment(python),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    json.loads(stdout.readline())

    def measure(rows: int, prompt: int, answer: int, **more: object) -> dict[str, float]:
        asked = {"rows": rows, "prompt": prompt, "answer": answer, **more}
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        found: dict[str, float] = json.loads(stdout.readline())
        return found

    try:
        yield measure
    finally:
        stdin.close()
        process.wait()
