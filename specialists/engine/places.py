"""How many sequences are taken on at once, and whose they are."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """A number of places that tenants share. For one event loop.

    While there is room anybody has it. When all places are taken, whoever has less than an even
    share of them is let in all the same, so that one who floods cannot shut others out.
    """

    def __init__(self, limit: int) -> None:
        """Of so many places."""
        self.limit = limit
        self._taken: Counter[str | None] = Counter()

    @property
    def count(self) -> int:
        """Places that are taken."""
        return self._taken.total()

    def room(self, tenant: str | None, count: int) -> bool:
        """Whether a tenant may take so many more."""
        if self.count + count <= self.limit:
            return True
        share = self.limit // len({*self._taken, tenant})
        return self._taken[tenant] + count <= share

    @contextmanager
    def taken(self, tenant: str | None, count: int) -> Iterator[None]:
        """Hold so many places."""
        self._taken[tenant] += count
        try:
            yield
        finally:
            self._taken[tenant] -= count
            if not self._taken[tenant]:
                del self._taken[tenant]
