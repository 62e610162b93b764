"""Manifests: what a version is made of, and the digest that names it."""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version's parts. `config`, `weights` and `card` are digests of their bytes."""

    kind: str
    base: str
    config: str
    weights: str
    card: str


def canonical(value: object) -> bytes:
    """One spelling per value: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def digest(manifest: Manifest) -> str:
    """The name of the version that this manifest describes: `sha256:…`."""
    return digest_bytes(canonical(asdict(manifest)))


def digest_bytes(data: bytes) -> str:
    """The content address of some bytes: `sha256:…`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
