"""From what a request names (`auto`, the base, a reference) to a decision."""

import time
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from registry.errors import InvalidReference, UnknownSpecialist
from registry.queries import PROD
from registry.reference import parse_reference
from registry.registry import Registry, Version
from registry.version import Canary
from router.errors import NotReady, UnknownModel
from router.pool import Pool
from router.routing.decision import Decision, base_answers
from router.routing.encoder import Encoder
from router.routing.filters import Filters, Options
from router.routing.follower import Follower
from router.routing.plan import Plan, planned
from router.routing.policy import Policy
from router.routing.snapshot import Snapshot
from router.staging import staged

AUTO = "auto"
LONGEST_NAME = 160
BY_NAME = "The request names this specialist."


class Resolver:
    """Resolves models to decisions; blocking work is done off the event loop."""

    def __init__(
        self,
        registry: Registry,
        follower: Follower,
        encoder: Encoder,
        policy: Policy,
        base: str,
        *,
        routing: Pool,
        reading: Pool,
    ) -> None:
        """Resolve against `registry` and the follower's snapshot.

        Args:
            registry: What exists.
            follower: What is routed to.
            encoder: Reads requests.
            policy: Decides for `auto`.
            base: The base's name.
            routing: Threads for encoding and comparing.
            reading: Threads for the registry.
        """
        self.base = base
        self._routing = routing
        self._reading = reading
        self._registry = registry
        self._follower = follower
        self._encoder = encoder
        self._policy = policy

    async def resolve(
        self,
        model: str,
        turns: Sequence[str],
        owner: str | None = None,
        options: Options | None = None,
    ) -> Decision:
        """Who answers a request for `model`; only `auto` reads the user's `turns`.

        Args:
            model: What the request names.
            turns: What the user said, oldest first.
            owner: Whose private specialists may answer; None may ask all.
            options: What the request asks of `auto`.

        Raises:
            NotReady: `auto` was asked for before the first snapshot.
            UnknownModel: Nothing answers to this name.
        """
        if model == self.base:
            return base_answers("The request names the base.", "named")
        if model == AUTO:
            return await self.route(turns, owner, options)
        known = self._live(model, owner)
        return known if known is not None else await self._reading.run(self._named, model, owner)

    def staged(self, decision: Decision, model: str, key: str) -> Decision:
        """The decision, for a canary where one is tried; a version that was named stays.

        Args:
            decision: What `resolve` gave.
            model: What the request names.
            key: What stays the same over its conversation.
        """
        return staged(decision, self._canary(decision, model), key)

    def _canary(self, decision: Decision, model: str) -> Canary | None:
        """What is tried in the place of what was decided."""
        if model not in (AUTO, decision.specialist, f"{decision.specialist}:{PROD}"):
            return decision.canary
        route = self._follower.decided(decision)
        return route.canary if route is not None else None

    async def route(
        self, turns: Sequence[str], owner: str | None = None, options: Options | None = None
    ) -> Decision:
        """The policy's decision over what an owner may use of the current snapshot.

        Raises:
            NotReady: Before the first snapshot.
        """
        asked, begun = options or Options(), time.perf_counter()
        seen, policy = self.seen_by(owner, asked.filters), self._policy.asked(asked)
        decision = await self._routing.run(policy.decide, seen, self._encoder, turns)
        if decision.evidence is not None:
            self._follower.refiner.want(decision.evidence.unprobed)
        return replace(decision, milliseconds=1000 * (time.perf_counter() - begun))

    def seen_by(self, owner: str | None, filters: Filters | None = None) -> Snapshot:
        """What an owner may use of the current snapshot, as far as it passes the filters.

        Raises:
            NotReady: Before the first snapshot.
        """
        snapshot = self._follower.snapshot
        if snapshot is None:
            raise NotReady("The routes are still being read; try again in a second.")
        return snapshot.seen_by(owner, filters)

    async def plan(self, turns: Sequence[str], owner: str | None, options: Options) -> Plan | None:
        """The steps by which several specialists answer the last turn; None where one will do.

        Raises:
            NotReady: Before the first snapshot.
        """
        seen, policy = self.seen_by(owner, options.filters), self._policy.asked(options)

        def choose(text: str) -> str | None:
            return policy.decide(seen, self._encoder, [text]).specialist

        return await self._routing.run(planned, turns[-1] if turns else "", choose)

    def version(self, model: str, owner: str | None = None) -> Version:
        """The version that a reference means; blocks on the registry.

        Raises:
            UnknownModel: Nothing answers to this name.
        """
        try:
            return self._registry.seen_by(owner).resolve(parse_reference(model))
        except UnknownSpecialist as error:
            raise UnknownModel(model, error.nearest) from error
        except InvalidReference as error:
            raise UnknownModel(model, self._nearest(model, owner)) from error

    def _live(self, model: str, owner: str | None) -> Decision | None:
        """The decision for a plain `owner/name` that the snapshot knows: nothing is read for it."""
        route = self._follower.find(model)
        if route is None or not route.answers(owner):
            return None
        return Decision(route.specialist, route.version, route.digest, None, BY_NAME)

    def _named(self, model: str, owner: str | None) -> Decision:
        version = self.version(model, owner)
        alias = parse_reference(model).alias
        canary = None
        if alias is not None and alias != PROD:
            canary = self._registry.seen_by(owner).aliases.canary(version.id, alias)
        found = version.id, version.number, version.digest
        return Decision(*found, None, BY_NAME, canary=canary)

    def _nearest(self, model: str, owner: str | None) -> list[str]:
        """Names like one that is not known, whatever its case: specialists, `auto`, the base."""
        registry = self._registry.seen_by(owner)
        if "/" in model:
            return registry.nearest(model)
        plain = model.strip().lower()
        built_in = {AUTO: AUTO, self.base.lower(): self.base}
        alike = get_close_matches(plain[:LONGEST_NAME], built_in)
        owned = registry.named(plain, 3)
        return owned or [built_in[name] for name in alike] or [AUTO, self.base]
