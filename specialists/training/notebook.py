"""What a teacher answered, written down at once: whoever is cut off goes on where they were."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What a teacher said.

    Attributes:
        text: the answer.
        finished: whether it came to its end, and was not cut at the most tokens.
        tokens: of prompt and answer.
    """

    text: str
    finished: bool
    tokens: int


class Notebook:
    """Answers by their questions, in a file of JSON lines; one that was cut short is left out.

    Without a file they are kept in memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Answer] = {}
        written = file.read_text() if file is not None and file.is_file() else ""
        self._is_cut = bool(written) and not written.endswith("\n")
        for line in written.splitlines():
            try:
                noted = json.loads(line)
                question = noted.pop("question")
                self._known[question] = Answer(**noted)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    @property
    def tokens(self) -> int:
        """Of all that was ever asked."""
        return sum(answer.tokens for answer in self._known.values())

    def find(self, question: str) -> Answer | None:
        """What was answered before."""
        return self._known.get(question)

    def note(self, question: str, answer: Answer) -> None:
        """Keep an answer."""
        self._known[question] = answer
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"question": question, **asdict(answer)})
        with self._file.open("a") as file:
            file.write(("\n" if self._is_cut else "") + line + "\n")
        self._is_cut = False
