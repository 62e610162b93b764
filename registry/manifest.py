"""Manifests: what a version is made of, and the digest that names it."""

import json
from dataclasses import asdict, dataclass

from registry.digests import digest_bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version's parts. `config`, `weights` and `card` are digests of their bytes.

    `base` is the base's name, `base_digest` tells which weights that name stood for.
    """

    kind: str
    base: str
    base_digest: str
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
