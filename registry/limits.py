"""How large an adapter may be."""

from dataclasses import dataclass

MAX_DATA_BYTES = 256 * 1024 * 1024
"""Of a file of rows to learn from."""
MAX_CARD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one adapter: its rank, its file's bytes, and its scale (alpha / r).

    One that changes the weights of a module by more than `max_change` on average (the root of the
    mean square) is kept apart until somebody looked at it: a trained one stays below a tenth of it.
    """

    max_rank: int = 256
    max_bytes: int = 256 * 1024 * 1024
    max_config_bytes: int = 256 * 1024
    max_scale: float = 64.0
    max_change: float = 0.25
