"""A lock that goes to whoever waits longest: who works piece by piece lets others in between."""

import threading
from types import TracebackType


class Turns:
    """Had, with `with`, in the order in which it is asked for.

    A plain lock mostly goes back to the thread that has just given it up, which still runs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = 0
        self._done = 0

    def __enter__(self) -> None:
        """Wait for all who asked before."""
        with self._changed:
            mine = self._asked
            self._asked += 1
            self._changed.wait_for(lambda: self._done == mine)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one go on."""
        with self._changed:
            self._done += 1
            self._changed.notify_all()
