"""How `myriad up` is told to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopSignal(threading.Event):
    """Set by SIGINT and SIGTERM, so that a start in progress is undone in order."""

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals while the context is open."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: self.set()) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
