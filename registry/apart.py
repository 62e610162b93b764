"""What processes are told that this one begins."""

import os

_TOLD = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR")


def told() -> dict[str, str]:
    """What they need of the environment; passwords and keys that it may hold are not told."""
    return {name: os.environ[name] for name in _TOLD if name in os.environ}
