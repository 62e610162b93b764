"""What a request leaves open of its sampling: the card of who answers says it, or the base."""

from collections.abc import Callable
from functools import lru_cache

from registry.card import SamplingDefaults
from registry.errors import RegistryError, StorageError
from registry.registry import Registry
from router.pool import Pool
from router.routing.decision import Decision
from router.routing.route import Route
from router.sampling import Sampling

KEPT = 4096
"""Cards whose sampling is remembered; a version's card never changes."""
Decided = Callable[[Decision], Route | None]
"""The route of the version that was decided on, if it is a live one."""


class Defaults:
    """Completes sampling: request, then card, then base."""

    def __init__(self, registry: Registry, base: Sampling, reading: Pool, route: Decided) -> None:
        """Go by the routes that `route` gives; `base` fills what is left.

        Cards of other versions are read from `registry`, in the threads of `reading`.
        """
        self._registry = registry
        self._route = route
        self._base = base
        self._reading = reading
        self._of_card = lru_cache(KEPT)(self._read)

    async def complete(self, asked: Sampling, decision: Decision) -> Sampling:
        """What is asked for, and the defaults of whoever answers.

        Raises:
            StorageError: No route says them, and the registry cannot be read.
        """
        if decision.digest is None:
            return asked.over(self._base)
        route = self._route(decision)
        said = route.traits.sampling if route is not None else None
        if said is None:
            said = await self._reading.run(self._of_card, decision.digest)
        return asked.over(Sampling(**said.model_dump())).over(self._base)

    def _read(self, digest: str) -> SamplingDefaults:
        try:
            return self._registry.card(digest).sampling or SamplingDefaults()
        except StorageError:
            raise
        except RegistryError:
            # A card that this release cannot read says nothing; its adapter answers all the same.
            return SamplingDefaults()
