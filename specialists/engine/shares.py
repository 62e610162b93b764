"""Who is served next: the tenant that was served least, so that none starves beside another.

Each tenant has a counter of the tokens that were computed for it (virtual token counters: Sheng et
al., Fairness in Serving Large Language Models, 2024). One that comes back after a pause starts
nearly level with those that are there: so much is saved up that a short request comes first.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from specialists.engine.core import Row

GENERATED = 2.0
"""What a generated token counts, where one of a prompt counts one: it takes a step of its own."""
SAVED = 512.0
"""What may be saved up in a pause."""
REMEMBERED = 10_000

Tenant = str | None


class Shares:
    """The counters."""

    def __init__(self) -> None:
        self._served: dict[Tenant, float] = {}

    def served(self, tenant: Tenant) -> float:
        """What was computed for a tenant, in tokens of prompts."""
        return self._served.get(tenant, 0.0)

    def rank(self, row: Row) -> tuple[bool, float]:
        """Whose rows come first, by one of them: the lower, the sooner."""
        return row.absent, self.served(row.tenant)

    def count(self, tenant: Tenant, tokens: float) -> None:
        """Note what was computed for a tenant."""
        self._served[tenant] = self.served(tenant) + tokens

    def arrives(self, tenant: Tenant, present: Collection[Tenant]) -> None:
        """Level a tenant with those that are present, if it was not; call it for every row."""
        if tenant in present:
            return
        if not present:
            # Nobody had to wait for what was computed so far.
            self._served.clear()
        least = min(map(self.served, present), default=0.0)
        self._served[tenant] = max(self.served(tenant), least - SAVED)
        if len(self._served) > REMEMBERED:
            self._served = {each: self._served[each] for each in (*present, tenant)}

    def ordered(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Rows as they should be served: the oldest of whoever was served least, again and again.

        Those that nobody waits for come last. What is counted meanwhile is heeded.
        """
        queues = {tenant: deque(some) for tenant, some in by_tenant(rows).items()}
        while queues:
            tenant = min(queues, key=lambda each: self.rank(queues[each][0]))
            yield queues[tenant].popleft()
            if not queues[tenant]:
                del queues[tenant]


def shared(rows: Iterable[Row], places: int) -> list[Row]:
    """The first rows of each tenant, in so many places: who wants few has them, others share."""
    found: list[Row] = []
    smallest_first = sorted(by_tenant(rows).values(), key=len)
    for at, queue in enumerate(smallest_first):
        share = max((places - len(found)) // (len(smallest_first) - at), 1)
        found += queue[:share]
    return found


def by_tenant(rows: Iterable[Row]) -> dict[Tenant, list[Row]]:
    """Rows apart by whose they are, in their order."""
    found: dict[Tenant, list[Row]] = {}
    for row in rows:
        found.setdefault(row.tenant, []).append(row)
    return found
