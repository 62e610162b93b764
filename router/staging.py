"""Which requests get a version that is being tried."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from registry.version import Canary
from router.routing.decision import Decision

_SCALE = 1 << 64


def staged(decision: Decision, canary: Canary | None, key: str) -> Decision:
    """The same decision, for the canary where there is one and this key is among its share."""
    if canary is None or not canary.share:
        return decision
    decision = replace(decision, canary=canary)
    if place(key, canary.digest) >= canary.share:
        return decision
    tried = f"Version {canary.number} is tried on {canary.share:.0%} of requests."
    reason = f"{decision.reason} {tried}"
    return replace(decision, version=canary.number, digest=canary.digest, reason=reason)


def sticky(user: str | None, turns: Sequence[str]) -> str:
    """What stays the same over a conversation: its user, or else the first thing that was said."""
    return user or (turns[0] if turns else "")


def place(key: str, digest: str) -> float:
    """Where a key falls in [0, 1), evenly, and anew for each version that is tried."""
    content = f"{digest}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8]) / _SCALE
