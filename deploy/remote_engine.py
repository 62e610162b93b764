"""The router's engine, one hop away: at one of several replicas, any of which may go."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext, suppress
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from deploy.affinity import Affinity
from deploy.broadcast import broadcast
from deploy.call import Call
from deploy.errors import EngineLost
from deploy.hop import Hop
from router import tracing
from router.engine import Delta, Generation, Items, Usage, joined
from router.errors import DeadlinePassed, Overloaded, Unavailable
from specialists.engine.places import Places

ENGINE_LOST = "The engine was lost while it answered; send the request again."
NO_ENGINE = "There has been no engine for a while; send the request again later."
NO_ENGINE_SECONDS, LATER = 60.0, 10.0
"""For so long a request waits for any replica to be there, as while the only one is replaced; and
when to try again after that."""
MAX_LOSSES, QUICK_SECONDS = 10, 2.0
"""Replicas that one request may lose so soon after it was sent: it may be what ends them."""
RETRIES = 0.1
"""Of all requests, that may be sent again when a replica refuses them: who is refused everywhere
must not double the work."""
SAVED_RETRIES = 20.0


class RemoteEngine:
    """Implements the router's `Engine` over a Serve deployment handle."""

    def __init__(self, handle: Any, *, places: int, replicas: int, deadline: float) -> None:
        """Ask the replicas behind a handle.

        Args:
            handle: the deployment's.
            places: sequences that a replica takes on.
            replicas: how many there are; every answer tells anew.
            deadline: seconds within which an answer must be complete.
        """
        self._hop = Hop(handle)
        self._prefetch = handle.options(method_name="prefetch")
        self._handle = handle
        self._retries = SAVED_RETRIES
        self._places = Places(places * replicas)
        self._of_one = places
        self._deadline = deadline

    async def generate(self, generation: Generation) -> Items:
        """See `Engine.generate`."""
        with self.place(generation.tenant, generation.n):
            async with aclosing(self._answer(generation)) as items:
                async for item in items:
                    yield item

    @contextmanager
    def place(self, tenant: str | None, rows: int = 1) -> Iterator[None]:
        """See `Engine.place`; without a hop, so that a refusal is quick when it must be."""
        if not self._places.room(tenant, rows):
            raise Overloaded()
        with self._places.taken(tenant, rows):
            yield

    async def _answer(self, generation: Generation) -> Items:
        """The items; until the first one there is another try at another replica.

        Of an answer that is read whole, the first one comes when all are there.
        """
        call, losses, started = Call(generation, trace=tracing.sent()), 0, False
        ends = asyncio.get_running_loop().time() + self._deadline
        self._retries = min(self._retries + RETRIES, SAVED_RETRIES)
        while True:
            sent = time.monotonic()
            try:
                async with aclosing(self._items(call, ends)) as items:
                    async for item in _at_once(items) if generation.whole else items:
                        started = True
                        yield item
                return
            except (Overloaded, Unavailable):
                if started or call.exhausted or self._retries < 1:
                    raise
                self._retries -= 1
            except EngineLost as error:
                losses += time.monotonic() - sent < QUICK_SECONDS
                if started or losses > MAX_LOSSES:
                    raise Unavailable(1.0, ENGINE_LOST) from error
            call = call.elsewhere()

    def resident(self, adapter: str) -> bool:
        """See `Engine.resident`; by what the replicas reported last."""
        affinity = Affinity.latest
        return affinity is not None and affinity.holds(adapter)

    async def prefetch(self, adapters: Sequence[str], *, evicts: bool) -> None:
        """See `Engine.prefetch`; of each adapter the replica is told that would be asked for it."""
        with suppress(RayError, RayServeException):
            for adapter in adapters:
                await self._prefetch.remote(adapter, evicts)

    async def ready(self) -> bool:
        """Whether any replica can answer; one that cannot is being replaced."""
        return bool(await broadcast(self._handle, "check_health"))

    async def stats(self) -> dict[str, dict[str, float]]:
        """See `Engine.stats`; of each replica that answers."""
        return dict(sorted(await broadcast(self._handle, "stats")))

    async def _items(self, call: Call, ends: float) -> Items:
        async with aclosing(self._hop.items(call)) as items:
            while (item := await self._next(items, call, ends)) is not None:
                if call.choices:
                    self._places.limit = call.choices * self._of_one
                yield item

    async def _next(
        self, items: AsyncIterator[Delta | Usage], call: Call, ends: float
    ) -> Delta | Usage | None:
        try:
            async with asyncio.timeout_at(ends) as limit:
                with nullcontext() if call.replica else _sooner_if_nobody_has(call, limit):
                    return await anext(items, None)
        except TimeoutError as error:
            if not call.replica:
                raise Unavailable(LATER, NO_ENGINE) from error
            raise DeadlinePassed(self._deadline) from error


@contextmanager
def _sooner_if_nobody_has(call: Call, limit: asyncio.Timeout) -> Iterator[None]:
    """Bring a limit forward for a call that has not gone to any replica by then."""

    def look() -> None:
        if not call.replica:
            limit.reschedule(loop.time())

    loop = asyncio.get_running_loop()
    timer = loop.call_later(NO_ENGINE_SECONDS, look)
    try:
        yield
    finally:
        timer.cancel()


async def _at_once(items: AsyncIterator[Delta | Usage]) -> AsyncIterator[Delta | Usage]:
    """The same answer, none of it before the last is there: a delta for each continuation."""
    deltas: list[Delta] = []
    usages: list[Usage] = []
    async for item in items:
        if isinstance(item, Usage):
            usages.append(item)
        else:
            deltas.append(item)
    for delta in joined(deltas):
        yield delta
    for usage in usages:
        yield usage
