"""What a replica was sent and has to load before anything else that it is sent."""


class Backlog:
    """Adapters on their way into a replica, which loads one after the other. Not thread-safe."""

    def __init__(self) -> None:
        self._adapters: set[int] = set()
        self._ends = 0.0

    def add(self, adapter: int, now: float, load: float) -> None:
        """An adapter was sent there that has to be loaded, which takes so many seconds."""
        if self._ends <= now:
            self._adapters.clear()
        self._adapters.add(adapter)
        self._ends = max(self._ends, now) + load

    def answered(self, adapter: int, now: float, load: float) -> None:
        """The replica answers for an adapter: it is loaded, however long that was to take."""
        self._adapters.discard(adapter)
        self._ends = min(self._ends, now + load * len(self._adapters))

    def seconds(self, now: float) -> float:
        """Until it can begin another load."""
        return max(self._ends - now, 0.0)
