"""Thoughts that take no more than so many tokens."""

from collections.abc import Sequence

from specialists.engine.text_stream import TextStream


class ThoughtBudget:
    """Closes an answer's thoughts when they have taken as many tokens as they may."""

    def __init__(self, most: int, closing: Sequence[int], text: TextStream) -> None:
        """Begin with an answer.

        Args:
            most: tokens that thoughts may take, before what closes them.
            closing: the tokens that close them.
            text: of the answer, which says whether it is still being thought.
        """
        self._left = most
        self._closing = list(closing)
        self._text = text

    @property
    def forced(self) -> int | None:
        """The token that must come next, if one must."""
        is_closing = self._left <= 0 and self._text.thinking
        return self._closing[0] if is_closing and self._closing else None

    def accept(self, token: int) -> None:
        """Count a token that comes, before the text has it."""
        if token == self.forced:
            del self._closing[0]
        else:
            self._left -= self._text.thinking
