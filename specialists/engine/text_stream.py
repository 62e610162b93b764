"""An answer's tokens as text that can be shown, up to its first stop text."""

from collections.abc import Callable

from specialists.engine.detokenizer import Detokenizer

Read = Callable[[str], tuple[str, str]]
"""Takes new text, and gives what it adds to thoughts and to an answer, see `ThoughtReader.push`."""


class TextStream:
    """Turns an answer's tokens into text that can be shown, and finds its stop texts."""

    def __init__(
        self, detokenizer: Detokenizer, stop: tuple[str, ...], read: Read | None = None
    ) -> None:
        """Show an answer from its beginning.

        Args:
            detokenizer: of its tokens.
            stop: texts that end it, of which nothing is shown.
            read: tells thoughts, which no text ends, from the answer after them; None: there are
                none.
        """
        self._detokenizer = detokenizer
        self._stop = stop
        self._read = read
        self._held = ""
        self.stopped_by: str | None = None
        """The stop text that ended the answer."""

    def push(self, token: int) -> str:
        """Text that became certain with this token; sets `stopped_by` when one appeared."""
        thought = self._hold(self._detokenizer.push(token))
        cut = self._stopped_at()
        if cut is not None:
            return thought + self._release(cut, drop_rest=True)
        return thought + self._release(len(self._held) - undecided(self._held, self._stop))

    def flush(self) -> str:
        """What was held back, once the answer has ended; sets `stopped_by` for one in it."""
        thought = self._hold(self._detokenizer.rest())
        cut = self._stopped_at()
        return thought + self._release(len(self._held) if cut is None else cut, drop_rest=True)

    def _hold(self, text: str) -> str:
        """Take in new text; gives back what of it comes before the answer."""
        said = text if self._read is None else self._read(text)[1]
        if said:
            self._read = None
        before = max(len(text) - len(said), 0)
        self._held += text[before:]
        return text[:before]

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
