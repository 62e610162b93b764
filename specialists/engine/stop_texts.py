"""Texts that end an answer, and are no part of it."""


class StopTexts:
    """Finds the first stop text of an answer, however it is cut."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        """Read an answer from its beginning; `stop` are the texts that end it."""
        self._stop = stop
        self._held = ""
        self.found: str | None = None
        """The one that ended the answer."""

    def push(self, text: str) -> str:
        """What is certain to come before any stop text, once this has come; sets `found`."""
        self._held += text
        if self._cut():
            return self._release(len(self._held))
        return self._release(len(self._held) - undecided(self._held, self._stop))

    def end(self) -> str:
        """What was held back, now that no more comes."""
        return self._release(len(self._held))

    def _cut(self) -> bool:
        """Drop the stop text that is complete first, if one is there, and what follows it."""
        found = [
            (at + len(word), at, word) for word in self._stop if (at := self._held.find(word)) >= 0
        ]
        if not found:
            return False
        _, at, self.found = min(found)
        self._held = self._held[:at]
        return True

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


def undecided(text: str, stop: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that a stop text could begin with."""
    longest = max((len(word) for word in stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in stop):
            return length
    return 0
