"""Thoughts that take no more than so many tokens."""

from collections.abc import Callable, Sequence

from specialists.engine.thoughts import ThoughtReader


class ThoughtBudget:
    """Closes an answer's thoughts when they have taken as many tokens as they may."""

    def __init__(
        self,
        most: int,
        closing: Sequence[int],
        shown: Callable[[int], str],
        reader: ThoughtReader,
    ) -> None:
        """Begin with an answer.

        Args:
            most: tokens that thoughts may take, before what closes them.
            closing: the tokens that close them.
            shown: what a token says.
            reader: tells thoughts from the answer, of which it has read nothing.
        """
        self._left = most
        self._closing = list(closing)
        self._shown = shown
        self._reader = reader

    @property
    def forced(self) -> int | None:
        """The token that must come next, if one must."""
        is_closing = self._left <= 0 and self._reader.thinking
        return self._closing[0] if is_closing and self._closing else None

    def accept(self, token: int) -> None:
        """Count a token that came."""
        if token == self.forced:
            del self._closing[0]
            return
        self._left -= self._reader.thinking
        self._reader.push(self._shown(token))
