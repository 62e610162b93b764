"""The router as a value: its parts, put together once per replica."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from registry.errors import StorageError
from registry.limits import Limits
from registry.registry import Registry
from router.answer_ids import AnswerIds
from router.background import Background
from router.defaults import Defaults
from router.engine import Engine
from router.explainer import Explainer
from router.exposition import gathered
from router.gate import Gate
from router.hints import Hints
from router.keyring import Caller, Keyring
from router.metrics import Metrics
from router.news import News
from router.pools import Pools
from router.quotas import Quotas
from router.resolver import Resolver
from router.routing.batching import Batched
from router.routing.encoder import Encoder
from router.routing.follower import Follower
from router.routing.policy import Policy
from router.routing.view import routing_view
from router.sampling import Sampling

logger = logging.getLogger(__name__)

READY_SECONDS = 2.0
ALONE = "router"
UPLOADS = 4
"""Uploads that are read at once; each may fill a file of the largest adapter's size."""
TYPING = 256
"""Connections of people who type; each holds one of the places for requests."""


class Peers(Protocol):
    """The other replicas of a service."""

    async def expositions(self) -> Mapping[str, bytes]:
        """What each replica that can be reached exposes of itself, by its name."""
        ...


class Service:
    """Everything the HTTP API needs. Call `start` before serving and `stop` after."""

    def __init__(
        self,
        registry: Registry,
        engine: Engine,
        encoder: Encoder,
        base: str,
        *,
        sampling: Sampling | None = None,
        policy: Policy | None = None,
        limits: Limits | None = None,
        interval: float = 0.2,
        cache: Path | None = None,
        opens: bool = True,
        replicas: int = 1,
        peers: Peers | None = None,
        teachers: Sequence[str] = (),
        background: int = 16,
    ) -> None:
        """Put the parts together.

        Args:
            registry: The catalogue to serve; the caller closes it.
            engine: Answers the generations.
            encoder: Reads requests and examples.
            base: Name by which requests ask for the bare base.
            sampling: What requests and cards leave open; None leaves it to the engine.
            policy: Rule for `auto`.
            limits: Bounds on uploads, the ones the registry was opened with.
            interval: Seconds between looks at the registry.
            cache: Folder for what takes long to compute at a start; None keeps nothing.
            opens: Whether everybody is let in while no API key was ever made.
            replicas: How many services share the keys' quotas.
            peers: The other services, whose figures are shown too; None is nobody.
            teachers: Names of the models that jobs may learn from.
            background: Requests of batches that are worked on at once while nobody waits.
        """
        self.registry = registry
        self.engine = engine
        self.hints = Hints(engine)
        self.encoder = encoder
        self.base = base
        self.teachers = teachers
        self.limits = limits or Limits()
        self.created = int(time.time())
        self.pools = Pools()
        self.uploads = Gate(UPLOADS)
        self.typing = Gate(TYPING)
        self.keyring = Keyring(registry.keys, self.pools.reading, opens=opens)
        self.quotas = Quotas(replicas)
        self.news = News(registry, self.pools.writing)
        self.background = Background(background)
        self._peers = peers
        self._answer_ids: AnswerIds | None = None
        self.metrics = Metrics()
        view = routing_view(encoder, cache)
        self.follower = Follower(registry, view, interval, cache)
        own = sampling or Sampling()
        self.defaults = Defaults(registry, own, self.pools.reading, self.follower.decided)
        batched = Batched(view)
        self.explainer = Explainer(registry, batched)
        self.resolver = Resolver(
            registry,
            self.follower,
            batched,
            replace(policy or Policy(), warm=engine.resident),
            base,
            routing=self.pools.routing,
            reading=self.pools.reading,
        )

    async def start(self, patience: float = 0.0) -> None:
        """Begin to follow the registry; `missing` says when requests can be answered.

        Args:
            patience: seconds to wait for the first routes before going on without them.

        Raises:
            StorageError: the registry cannot be read. Later on answers do without it.
        """
        await self.keyring.learn()
        await self.answer_ids()
        self.follower.start()
        self.news.start()
        await self.pools.reading.run(self.follower.wait, patience)

    async def stop(self) -> None:
        """Stop following the registry, and tell it the last news."""
        await self.news.stop()
        await self.pools.writing.run(self.follower.stop)
        self.pools.close()

    async def answer_ids(self) -> AnswerIds:
        """What makes the ids of answers.

        Raises:
            StorageError: the registry cannot be read, and never was.
        """
        if self._answer_ids is None:
            self._answer_ids = AnswerIds(await self.pools.reading.run(self.registry.trials.secret))
        return self._answer_ids

    def seen_by(self, caller: Caller) -> Registry:
        """The registry as a caller sees it and may change it."""
        return self.registry.seen_by(caller.owner, caller.key, caller.quota)

    async def missing(self) -> list[str]:
        """What is not ready yet: "snapshot", "engine", both or nothing."""
        missing = [] if self.follower.snapshot is not None else ["snapshot"]
        return missing if await self._engine_ready() else [*missing, "engine"]

    async def refresh(self) -> None:
        """Route by what was just written; where that fails, the follower catches up later.

        Before the first snapshot nobody waits for it: it will hold what was written.
        """
        if self.follower.snapshot is None:
            return
        try:
            await self.pools.refreshing.run(self.follower.refresh)
        except Exception as error:
            # What was written stands, whatever becomes of the routes.
            logger.warning("routes are brought up to date later: %r", error)

    def exposition(self) -> bytes:
        """This replica's own figures, in Prometheus' format."""
        return self.metrics.exposition(self.follower.snapshot, len(self.follower.skipped))

    async def expositions(self) -> bytes:
        """The figures of all replicas and engines, in Prometheus' format."""
        peers = await self._peers.expositions() if self._peers is not None else {}
        routers = peers or {ALONE: self.exposition()}
        engines, queues = await self._engine_stats(), await self._queued()
        return gathered(dict(sorted(routers.items())), engines, queues)

    async def _engine_stats(self) -> Mapping[str, Mapping[str, float]]:
        """The engines' figures; none when they do not answer."""
        try:
            return await asyncio.wait_for(self.engine.stats(), READY_SECONDS)
        except Exception as error:
            logger.warning("the engine does not tell its figures: %r", error)
            return {}

    async def _queued(self) -> Mapping[str, Mapping[str, int]]:
        """Jobs and batches by how far they are; none when the registry does not say."""
        run, registry = self.pools.reading.run, self.registry
        try:
            return {
                "training_jobs": await run(registry.queue.counts),
                "batches": await run(registry.batch_queue.counts),
            }
        except StorageError as error:
            logger.warning("the registry does not count its jobs and batches: %s", error)
            return {}

    async def _engine_ready(self) -> bool:
        try:
            return await asyncio.wait_for(self.engine.ready(), READY_SECONDS)
        except Exception as error:
            logger.warning("the engine does not say whether it is ready: %r", error)
            return False
