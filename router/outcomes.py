"""How the answers of versions on trial end, until the registry is told."""

from contextlib import aclosing

from registry.trials import Tally
from router.engine import Items, Usage
from router.errors import RouterError


class Outcomes:
    """Counts of answers by digest. For one event loop."""

    def __init__(self) -> None:
        self._counted: dict[str, Tally] = {}

    async def watched(self, digest: str, items: Items) -> Items:
        """The same items; counted is whether they come to their end, or fail.

        What the client did wrong, or did not wait for, counts as neither.
        """
        try:
            async with aclosing(items):
                async for item in items:
                    if isinstance(item, Usage):
                        self._add(digest, Tally(answered=1))
                    yield item
        except Exception as error:
            if not isinstance(error, RouterError) or error.status >= 500:
                self._add(digest, Tally(failed=1))
            raise

    def drain(self) -> dict[str, Tally]:
        """What was counted since this was asked last."""
        counted, self._counted = self._counted, {}
        return counted

    def _add(self, digest: str, more: Tally) -> None:
        known = self._counted.get(digest, Tally())
        total = Tally(known.answered + more.answered, known.failed + more.failed)
        self._counted[digest] = total
