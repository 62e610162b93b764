"""Tells the engine which adapters are likely wanted soon, so that they are there when they are."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence

from router.engine import Engine
from router.routing.decision import Decision

logger = logging.getLogger(__name__)

LIKELY = 0.1
"""Probability from which on a specialist that does not answer now may answer what comes next."""
AGAIN = 30.0
"""Seconds after which a hint is given once more."""
KNOWN = 1000
AT_ONCE = 16
"""Hints on their way; where the engine takes none they are not to pile up."""


class Hints:
    """Gives hints that nobody waits for. For one event loop."""

    def __init__(self, engine: Engine) -> None:
        """Give hints to `engine`."""
        self._engine = engine
        self._given: OrderedDict[str, float] = OrderedDict()
        self._giving: set[asyncio.Task[None]] = set()

    def answerer(self, decision: Decision) -> None:
        """Whoever was decided on, perhaps of a text that is not complete, will likely be asked."""
        if decision.digest is not None:
            self._give([decision.digest], evicts=True)

    def runners_up(self, decision: Decision) -> None:
        """Others that are likely may be asked next, if there is room for them."""
        likely = [each.digest for each in decision.candidates if each.score >= LIKELY]
        self._give([each for each in likely if each != decision.digest], evicts=False)

    def _give(self, digests: Sequence[str], *, evicts: bool) -> None:
        now = time.monotonic()
        new = [each for each in digests if now - self._given.get(each, -AGAIN) >= AGAIN]
        if not new or len(self._giving) >= AT_ONCE:
            return
        for digest in new:
            self._given[digest] = now
            self._given.move_to_end(digest)
        while len(self._given) > KNOWN:
            self._given.popitem(last=False)
        task = asyncio.get_running_loop().create_task(self._tell(new, evicts))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _tell(self, digests: Sequence[str], evicts: bool) -> None:
        try:
            await self._engine.prefetch(digests, evicts=evicts)
        except Exception as error:
            # It would only have been quicker.
            logger.warning("the engine takes no hints: %r", error)
