"""How large an adapter may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one adapter: its rank, its file's bytes, and its scale (alpha / r)."""

    max_rank: int = 256
    max_bytes: int = 256 * 1024 * 1024
    max_config_bytes: int = 256 * 1024
    max_scale: float = 64.0
