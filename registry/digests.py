"""Digests: content addresses, `sha256:…`."""

import hashlib
from pathlib import Path

from registry.content import Buffer


def digest_bytes(data: Buffer) -> str:
    """The content address of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_file(file: Path) -> str:
    """The content address of a file, read piece by piece.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
