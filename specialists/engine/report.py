"""What an engine tells of itself, so that requests are sent where they are answered soonest."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MARK_BYTES = 8
"""Of a digest, which tell it from all others well enough to send a request by."""
MARKS = 1024
"""Resident adapters that are told of, the most recently used ones."""


@dataclass(frozen=True, slots=True)
class Report:
    """An engine's load, pace and resident adapters.

    Attributes:
        rows: running and waiting.
        capacity: rows that can be computed at once, by rows and by pages.
        step: seconds of a step without any row.
        row: seconds that each row adds to a step.
        load: seconds until an adapter that is not resident is.
        answer: tokens of an answer.
        full: whether a load evicts.
        visits: requests that came by a socket and not by Serve; set by whoever has one.
        resident: marks of adapters that are resident, one after another.
    """

    rows: int = 0
    capacity: int = 32
    step: float = 0.0
    row: float = 0.0
    load: float = 0.1
    answer: float = 64.0
    full: bool = False
    visits: int = 0
    resident: bytes = b""

    @property
    def marks(self) -> frozenset[int]:
        """The marks, see `mark`."""
        return frozenset(np.frombuffer(self.resident, f">u{MARK_BYTES}").tolist())

    def told(self) -> dict[str, Any]:
        """As plain values: those that pass it on need to know nothing of engines."""
        return asdict(self)


def mark(digest: str) -> int:
    """The first 64 bits of a version's digest."""
    return int(digest.removeprefix("sha256:")[: 2 * MARK_BYTES], 16)


def marks(digests: Iterable[str]) -> bytes:
    """The marks of the last of these digests, as a report has them."""
    last = list(digests)[-MARKS:]
    return b"".join(mark(digest).to_bytes(MARK_BYTES, "big") for digest in last)
