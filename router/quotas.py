"""How fast a key may be used: so many requests, and so many tokens, a minute.

Each replica lets its share of a quota through. What was not used is kept, up to a minute's worth.
"""

import time
from contextlib import aclosing
from dataclasses import dataclass, field

from router.engine import Items
from router.errors import RateLimited
from router.keyring import Caller
from router.spending import Spent

MINUTE = 60.0
KNOWN = 10_000
"""Keys whose use is remembered; the one that was used longest ago is forgotten first."""


@dataclass(slots=True)
class Bucket:
    """A token bucket that is full at first; its level may be overdrawn, and then recovers."""

    per_minute: float
    level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self._at = self.per_minute, time.monotonic()

    def take(self, amount: float) -> None:
        """Take so much out, or put it back (below 0)."""
        self._fill()
        self.level = min(self.level - amount, self.per_minute)

    def wait(self, amount: float) -> float:
        """Seconds until so much is there; 0 when it is."""
        self._fill()
        return max(0.0, (amount - self.level) / self.per_minute * MINUTE)

    def _fill(self) -> None:
        now = time.monotonic()
        self.level = min(self.level + (now - self._at) / MINUTE * self.per_minute, self.per_minute)
        self._at = now


class Quotas:
    """What each key has used of its quota on this replica. For one event loop."""

    def __init__(self, replicas: int = 1) -> None:
        """Let a share of each quota through that leaves as much to the other `replicas`."""
        self._replicas = replicas
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            RateLimited: The key has used up its requests or its tokens; it says when to come again.
        """
        for what, bucket, amount in self._of(caller):
            if wait := bucket.wait(amount):
                raise RateLimited(what, int(bucket.per_minute * self._replicas), wait)
        for what, bucket, amount in self._of(caller):
            if what == "requests":
                bucket.take(amount)

    def used(self, caller: Caller, tokens: int) -> None:
        """Count tokens."""
        for what, bucket, _ in self._of(caller):
            if what == "tokens":
                bucket.take(tokens)

    def headers(self, caller: Caller) -> dict[str, str]:
        """What is left, in OpenAI's header names; none for a key without such a quota."""
        said = {}
        for what, bucket, _ in self._of(caller):
            said[f"x-ratelimit-limit-{what}"] = str(int(bucket.per_minute * self._replicas))
            said[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level * self._replicas)))
        return said

    async def metered(self, caller: Caller, items: Items, reserved: int) -> Items:
        """The same items; their tokens are counted, the `reserved` ones until it is known how many.

        Of an answer that is broken off those count that were sent, or all reserved ones before the
        first.
        """
        self.used(caller, reserved)
        spent = Spent()
        try:
            async with aclosing(items):
                async for item in items:
                    spent.add(item)
                    yield item
        finally:
            self.used(caller, (spent.tokens or reserved) - reserved)

    def _of(self, caller: Caller) -> list[tuple[str, Bucket, float]]:
        """What is bounded, where it is counted, and how much a request needs of it."""
        quota = caller.quota
        bounds = (("requests", quota.requests_per_minute), ("tokens", quota.tokens_per_minute))
        return [
            (what, self._bucket(caller, what, bound), min(1.0, bound / self._replicas))
            for what, bound in bounds
            if bound is not None
        ]

    def _bucket(self, caller: Caller, what: str, bound: int) -> Bucket:
        key = caller.key or "", what
        bucket = self._buckets.pop(key, None) or Bucket(bound / self._replicas)
        if len(self._buckets) >= KNOWN:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket
