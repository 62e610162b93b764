"""An answer's tokens as text that can be shown: its thoughts, and itself up to a stop text."""

from specialists.engine.detokenizer import Detokenizer
from specialists.engine.stop_texts import StopTexts
from specialists.engine.thoughts import ThoughtReader


class TextStream:
    """Turns an answer's tokens into text that can be shown, and finds its stop texts."""

    def __init__(
        self, detokenizer: Detokenizer, stop: tuple[str, ...], reader: ThoughtReader | None = None
    ) -> None:
        """Show an answer from its beginning.

        Args:
            detokenizer: of its tokens.
            stop: texts that end it, of which nothing is shown; they end no thoughts.
            reader: tells thoughts from the answer after them; None: all is answer.
        """
        self._detokenizer = detokenizer
        self._stops = StopTexts(stop)
        self._reader = reader

    @property
    def stopped_by(self) -> str | None:
        """The stop text that ended the answer."""
        return self._stops.found

    @property
    def thinking(self) -> bool:
        """Whether what comes next belongs to thoughts, as far as is known."""
        return self._reader is not None and self._reader.thinking

    def push(self, token: int) -> tuple[str, str]:
        """What became certain with this token, of the thoughts and of the answer."""
        return self._read(self._detokenizer.push(token))

    def flush(self) -> tuple[str, str]:
        """What was held back of both, once the answer has ended; a stop text may be in it."""
        thought, text = self._read(self._detokenizer.rest())
        if self._reader is not None and self.stopped_by is None:
            rest_of_thought, rest = self._reader.end()
            thought, text = thought + rest_of_thought, text + self._stops.push(rest)
        return thought, text + self._stops.end()

    def _read(self, text: str) -> tuple[str, str]:
        thought, said = ("", text) if self._reader is None else self._reader.push(text)
        return thought, self._stops.push(said)
