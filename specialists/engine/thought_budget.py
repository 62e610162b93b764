"""Thoughts that take no more than so many tokens."""

from collections.abc import Callable, Sequence

from specialists.engine.thoughts import ThoughtReader


class ThoughtBudget:
    """Closes an answer's thoughts when they have taken as many tokens as they may. Of one row."""

    def __init__(
        self, most: int, closing: Sequence[int], shown: Callable[[int], str], *, opened: bool
    ) -> None:
        """Begin with an answer.

        Args:
            most: tokens that thoughts may take, before what closes them.
            closing: the tokens that close them.
            shown: what a token says.
            opened: whether the answer begins within thoughts.
        """
        self._made = most, closing, shown
        self._opened = opened
        self._left = most
        self._closing = list(closing)
        self._shown = shown
        self._reader = ThoughtReader(thinking=opened)

    def copy(self) -> "ThoughtBudget":
        """The same for another answer, at its beginning."""
        return ThoughtBudget(*self._made, opened=self._opened)

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
