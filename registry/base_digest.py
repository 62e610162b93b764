"""What tells one base from another of the same name: a digest of its config and its weights."""

import json
import os
import tempfile
from pathlib import Path

from registry.digests import digest_bytes, digest_file
from registry.manifest import canonical

VOLATILE = ("_name_or_path", "transformers_version")
"""Fields of config.json that say who wrote it, not what it computes."""


def base_digest(folder: Path, cache: Path | None = None) -> str:
    """The digest of a base in transformers' layout.

    Args:
        folder: holds config.json and weights in safetensors.
        cache: file that remembers digests of weights by size and time of change, since reading
            them takes seconds; None reads them always.

    Raises:
        OSError: a file cannot be read.
        ValueError: config.json is not JSON.
    """
    config = json.loads((folder / "config.json").read_bytes())
    plain = {key: value for key, value in config.items() if key not in VOLATILE}
    known = _read(cache)
    before, weights = dict(known), {}
    for file in sorted(folder.glob("*.safetensors")):
        mark = _mark(file)
        known[mark] = known.get(mark) or digest_file(file)
        weights[file.name] = known[mark]
    if cache is not None and known != before:
        _write(cache, known)
    return digest_bytes(canonical({"config": plain, "weights": weights}))


def _mark(file: Path) -> str:
    found = file.stat()
    return f"{file.resolve()} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _read(cache: Path | None) -> dict[str, str]:
    try:
        found = json.loads(cache.read_bytes()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(cache: Path, known: dict[str, str]) -> None:
    """Keep what is known; whoever cannot, reads the weights again next time."""
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=cache.parent)
        with os.fdopen(handle, "w") as opened:
            json.dump(known, opened)
        Path(part).replace(cache)
    except OSError:
        return
