"""Manifests: what a version is made of, and the digest that names it."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import TypeAdapter

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

    @staticmethod
    def read(content: bytes) -> "Manifest":
        """The manifest that has this content.

        Raises:
            ValueError: it is no manifest's.
        """
        return _READER.validate_json(content)

    @classmethod
    def of(cls, row: Any) -> Self:
        """The manifest that a row of `queries.made` tells of."""
        card = digest_bytes(row.card.encode())
        return cls(row.kind, row.base, row.base_digest, row.config, row.weights, card)

    @property
    def content(self) -> bytes:
        """Its bytes, kept as a blob: from it the files are found that a version has."""
        return canonical(asdict(self))


_READER = TypeAdapter(Manifest)


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
    return digest_bytes(manifest.content)
