"""An answer's tokens as text that can be shown, up to its first stop text."""

from specialists.engine.detokenizer import Detokenizer


class TextStream:
    """Turns an answer's tokens into text that can be shown, and finds its stop texts."""

    def __init__(self, detokenizer: Detokenizer, stop: tuple[str, ...]) -> None:
        self._detokenizer = detokenizer
        self._stop = stop
        self._held = ""
        self.stopped_by: str | None = None
        """The stop text that ended the answer."""

    def push(self, token: int) -> str:
        """Text that became certain with this token; sets `stopped_by` when one appeared."""
        self._held += self._detokenizer.push(token)
        cut = self._stopped_at()
        if cut is not None:
            return self._release(cut, drop_rest=True)
        return self._release(len(self._held) - undecided(self._held, self._stop))

    def flush(self) -> str:
        """What was held back, once the answer has ended; sets `stopped_by` for one in it."""
        self._held += self._detokenizer.rest()
        cut = self._stopped_at()
        return self._release(len(self._held) if cut is None else cut, drop_rest=True)

    def _stopped_at(self) -> int | None:
        """Where the stop text begins that ends the answer, if one is there."""
        found = _first_stop(self._held, self._stop)
        if found is None:
            return None
        at, self.stopped_by = found
        return at

    def _release(self, length: int, *, drop_rest: bool = False) -> str:
        text, rest = self._held[:length], self._held[length:]
        self._held = "" if drop_rest else rest
        return text


def _first_stop(text: str, stop: tuple[str, ...]) -> tuple[int, str] | None:
    """The stop text that is complete first, and where it begins; however tokens cut it."""
    found = [(at + len(word), at, word) for word in stop if (at := text.find(word)) >= 0]
    return min(found)[1:] if found else None


def undecided(text: str, stop: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that a stop text could begin with."""
    longest = max((len(word) for word in stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in stop):
            return length
    return 0
