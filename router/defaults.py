"""What a request leaves open of its sampling: the card of who answers says it, or the base."""

from functools import lru_cache

from registry.errors import RegistryError, StorageError
from registry.registry import Registry
from router.pool import Pool
from router.sampling import Sampling

KEPT = 4096
"""Cards whose sampling is remembered; a version's card never changes."""


class Defaults:
    """Completes sampling: request, then card, then base."""

    def __init__(self, registry: Registry, base: Sampling, reading: Pool) -> None:
        """Read cards from `registry` in the threads of `reading`; `base` fills what is left."""
        self._registry = registry
        self._base = base
        self._reading = reading
        self._of_card = lru_cache(KEPT)(self._read)

    async def complete(self, asked: Sampling, digest: str | None) -> Sampling:
        """What is asked for, and the defaults of the version that answers (None: the base)."""
        if digest is None:
            return asked.over(self._base)
        card = await self._reading.run(self._of_card, digest)
        return asked.over(card).over(self._base)

    def _read(self, digest: str) -> Sampling:
        try:
            said = self._registry.card(digest).sampling
        except StorageError:
            raise
        except RegistryError:
            # A card that this release cannot read says nothing; its adapter answers all the same.
            return Sampling()
        return Sampling(**said.model_dump()) if said is not None else Sampling()
