"""Grammars as llguidance compiles them, in a process apart before it is done here.

Some take minutes, or for ever (forty patterns that a text must all match), and nothing stops the
library meanwhile. What a grammar does to it, it does in a process that may take only so much time
and memory. https://github.com/guidance-ai/llguidance
"""

import json
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.gbnf_to_lark import any_to_lark

from registry.apart import begun, bound, ended

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

SECONDS = 2.0
"""Of computing: the largest that is of use takes a few tenths."""
HANGS = 120.0
"""Seconds until a process that computes nothing is given up."""
BYTES = 4 << 30
"""Address space: the tokenizer, and what is made of a grammar."""
TOO_MUCH = "takes too long, or too much memory, to be compiled; make it simpler"
LAYOUT: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""Free white space is what a small base loses itself in."""


def _from_schema(schema: str) -> str:
    return LLMatcher.grammar_from_json_schema(schema, defaults=LAYOUT)


READERS: dict[str, Callable[[str], str]] = {
    "schema": _from_schema,
    "lark": LLMatcher.grammar_from_lark,
    "rules": LLMatcher.grammar_from_lark,
}
"""What makes a grammar of a text, by the text's language; `rules` are Lark of strangers'."""
GRAMMAR = "grammar"
"""Lark of strangers', or GBNF that becomes Lark by Python code, beside which all else is slow."""

QUICK = LLParserLimits(max_items_in_row=300, step_lexer_fuel=50_000)
"""Of strangers' rules: all answers wait for a token's mask. Of ambiguous ones (`s: s s | "a"`) it
takes 9 ms then, and without these bounds 330."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What grammars are compiled for.

    Attributes:
        tokenizer: in the JSON of the library tokenizers.
        end: tokens that end an answer.
        width: of the logits.
    """

    tokenizer: str
    end: Sequence[int]
    width: int

    def read(self) -> LLTokenizer:
        """The same as llguidance knows it; takes a second.

        A tokenizer may know tokens for which there are no logits, such as one for padding.
        """
        end = list(self.end)
        try:
            return LLTokenizer(self.tokenizer, n_vocab=self.width, eos_token=end)
        except ValueError:  # as many as it knows, then
            return LLTokenizer(self.tokenizer, eos_token=end)


def compiled(tokenizer: LLTokenizer, language: str, text: str) -> LLMatcher:
    """A text's grammar, at its beginning.

    Raises:
        ValueError: it is none, or is too large.
    """
    limits = QUICK if language == "rules" else None
    matcher = LLMatcher(tokenizer, READERS[language](text), log_level=0, limits=limits)
    if matcher.is_error():
        raise ValueError(matcher.get_error().strip())
    return matcher


class Trial:
    """A process that compiles grammars, begun at the first one. Thread-safe, one at a time."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection
        self._end: Callable[[], object] = lambda: None

    def refusal(self, language: str, text: str) -> str | None:
        """Why a text's grammar cannot be compiled; None where it can.

        Raises:
            OSError: no process can be begun.
        """
        try:
            refused: str | None = self._asked(language, text)
        except EOFError:
            return TOO_MUCH
        return refused

    def lark(self, grammar: str) -> str:
        """A grammar that is Lark or GBNF, as Lark.

        Raises:
            ValueError: it is neither, or that takes too long to tell.
            OSError: no process can be begun.
        """
        try:
            made, refused = self._asked(GRAMMAR, grammar)
        except EOFError:
            raise ValueError(TOO_MUCH) from None
        if made is None:
            raise ValueError(refused)
        return str(made)

    def _asked(self, language: str, text: str) -> Any:
        """What the process makes of a text.

        Raises:
            EOFError: it was ended by it.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._begin()
            try:
                return _answer(self._line, [language, text])
            except EOFError:
                self._end()
                raise

    def _begin(self) -> None:
        self._end()
        self._process, self._line = begun(__name__)
        self._end = weakref.finalize(self, ended, self._process, self._line)
        try:
            _answer(self._line, asdict(self._vocabulary))
        except EOFError as error:
            self._end()
            raise OSError("no process that tries grammars can be begun") from error


def _answer(line: Connection, asked: object) -> Any:
    """What the process at the other end says.

    Raises:
        EOFError: it has ended, or hangs.
    """
    try:
        line.send_bytes(json.dumps(asked).encode())
        if line.poll(HANGS):
            return json.loads(line.recv_bytes())
    except OSError as error:
        raise EOFError from error
    raise EOFError


def main(descriptor: int) -> None:
    """Compile until nobody asks any longer."""
    line = Connection(descriptor)
    bound(BYTES)
    try:
        tokenizer = Vocabulary(**json.loads(line.recv_bytes())).read()
        line.send_bytes(b"true")
        while True:
            language, text = json.loads(line.recv_bytes())
            # The system ends a process whose time is over; no code of it is asked.
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            answer = _lark(text) if language == GRAMMAR else _refused(tokenizer, language, text)
            signal.setitimer(signal.ITIMER_PROF, 0)
            line.send_bytes(json.dumps(answer).encode())
    except (EOFError, OSError):
        return


def _refused(tokenizer: LLTokenizer, language: str, text: str) -> str | None:
    try:
        compiled(tokenizer, language, text)
    except ValueError as error:
        return str(error)
    return None


def _lark(grammar: str) -> tuple[str | None, str | None]:
    """A grammar as Lark, or why it is none."""
    try:
        return any_to_lark(grammar), None
    except Exception as error:  # of what it reads, in as many ways as there are mistakes
        return None, f"it is neither Lark nor GBNF: {error}"


if __name__ == "__main__":
    main(int(sys.argv[1]))
