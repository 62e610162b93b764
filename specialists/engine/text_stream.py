"""An answer's tokens as text that can be shown, up to its first stop text."""

from specialists.engine.detokenizer import Detokenizer


class TextStream:
    """Turns an answer's tokens into text that can be shown, and finds its stop texts."""

    def __init__(self, detokenizer: Detokenizer, stop: tuple[str, ...]) -> None:
        self._detokenizer = detokenizer
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Text that became certain with this token; sets `stopped` when a stop text appeared."""
        self._held += self._detokenizer.push(token)
        cut = _first_stop(self._held, self._stop)
        if cut is not None:
            self.stopped = True
            return self._release(cut, drop_rest=True)
        return self._release(len(self._held) - _undecided(self._held, self._stop))

    def flush(self) -> str:
        """What was held back, once the answer has ended; sets `stopped` for a stop text in it."""
        self._held += self._detokenizer.rest()
        cut = _first_stop(self._held, self._stop)
        self.stopped = cut is not None
        return self._release(len(self._held) if cut is None else cut, drop_rest=True)

    def _release(self, length: int, *, drop_rest: bool = False) -> str:
        text, rest = self._held[:length], self._held[length:]
        self._held = "" if drop_rest else rest
        return text


def _first_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the stop text that is complete first begins; it does not matter how tokens cut it."""
    found = [(at + len(word), at) for word in stop if (at := text.find(word)) >= 0]
    return min(found)[1] if found else None


def _undecided(text: str, stop: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that a stop text could begin with."""
    longest = max((len(word) for word in stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in stop):
            return length
    return 0
