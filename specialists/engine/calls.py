"""Calls of tools: how a base writes them, which answers may hold them, and reading them back."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from specialists.engine.grammar import RESPONSE_FORMAT
from specialists.engine.lark import json_rule, literal
from specialists.errors import InvalidSampling


class Tool(Protocol):
    """A function that an answer may call."""

    @property
    def name(self) -> str:
        """What it is called by."""

    @property
    def description(self) -> str | None:
        """What it does."""

    @property
    def parameters(self) -> str:
        """JSON schema of its arguments, an object; as text."""


class Call(Protocol):
    """A call of a tool in a chat."""

    @property
    def name(self) -> str:
        """The tool."""

    @property
    def arguments(self) -> str:
        """A JSON object, as text."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How calls are written: `opening` NAME `between` ARGUMENTS `closing`.

    Attributes:
        separator: stands between calls; None where an answer holds one call at most.
        several: whether an answer may hold more than one call when nobody says.
    """

    opening: str
    between: str
    closing: str
    separator: str | None
    several: bool = True

    @property
    def tag(self) -> str:
        """What announces a call after text; empty where a call can only be the whole answer."""
        return self.opening[: self.opening.index("{")].rstrip()

    @property
    def example(self) -> str:
        """A call as it is shown to those who are to write one."""
        return f"{self.opening}NAME{self.between}{{ARGUMENTS}}{self.closing}"

    def write(self, calls: Iterable[Call]) -> str:
        """Calls as the base would write them."""
        written = [
            f"{self.opening}{call.name}{self.between}{_spaced(call.arguments)}{self.closing}"
            for call in calls
        ]
        return (self.separator or "\n").join(written)

    def grammar(
        self, tools: Sequence[Tool], *, required: bool, several: bool | None, schema: str | None
    ) -> str:
        """The answers that are calls of these tools, or else text, in llguidance's Lark.

        Args:
            tools: which may be called, at least one.
            required: whether there must be a call.
            several: whether there may be more than one; None leaves it to the format.
            schema: JSON schema of an answer that is no call; None leaves its text free.

        Raises:
            InvalidSampling: calls and the schema's JSON cannot be told apart.
        """
        if schema is not None and not required and not self.tag:
            raise InvalidSampling(
                "this base writes calls as JSON too, so that 'tools' are not to be told from it",
                RESPONSE_FORMAT,
            )
        wanted = self.several if several is None else several
        separator = self.separator if wanted else None
        rest = self.opening[len(self.tag) :]
        more = f"({literal(separator + self.opening)} called)*" if separator is not None else ""
        rules = [
            "%llguidance {}",
            f"start: {self._start(required, schema)}",
            f"calls: {literal(rest)} called {more}",
            f"called: ({' | '.join(f'tool_{at}' for at in range(len(tools)))}) "
            f"{literal(self.closing)}",
        ]
        for at, tool in enumerate(tools):
            name = literal(tool.name + self.between)
            rules.append(f"tool_{at}: {name} {json_rule(tool.parameters)}")
        if not required:
            rules += self._text(schema)
        return "\n".join(rules)

    def _start(self, required: bool, schema: str | None) -> str:
        tag = f"{literal(self.tag)} " if self.tag else ""
        if required:
            return f"{tag}calls"
        return "text | opened calls" if self.tag and schema is None else f"text | {tag}calls"

    def _text(self, schema: str | None) -> list[str]:
        if schema is not None:
            return [f"text: {json_rule(schema)}"]
        if self.tag:
            # Lazily: as soon as the tag stands there, a call has begun.
            opened = f"opened[lazy]: TEXT {literal(self.tag)}"
            return ["text: TEXT", opened, r"TEXT: /(.|\n)*/"]
        return ["text: TEXT", r"TEXT: /\s*([^\s{](.|\n)*)?/"]


@dataclass(frozen=True, slots=True)
class CallPiece:
    """New text of call `index` (0, 1, …); its first piece brings the name."""

    index: int
    arguments: str
    name: str | None = None


class CallReader:
    """Tells calls from text in an answer, as it comes. Cut off anywhere, it says what it has."""

    def __init__(self, form: CallFormat) -> None:
        self._form = form
        self._unread = ""
        self._said = ""
        self._pieces: list[CallPiece] = []
        self._object = _JsonObject()
        self._read = self._read_text
        self.calls = 0

    def push(self, text: str) -> tuple[str, tuple[CallPiece, ...]]:
        """What new text adds: to what is said, and to the calls."""
        self._unread += text
        self._said, self._pieces = "", []
        while self._read():
            """Another part of the answer has begun."""
        return self._said, tuple(self._pieces)

    def end(self, *, complete: bool) -> str:
        """What was held back since a call might have begun there.

        Args:
            complete: whether the answer was not cut off, so that every call in it is whole.
        """
        if self._read != self._read_text:
            return ""
        return self._unread if complete else self._certain()

    def _read_text(self) -> bool:
        text, found, rest = self._unread.partition(self._form.opening)
        if found and (self._form.tag or not text):
            self._said = text.rstrip()
            self._unread, self._read = rest, self._read_name
            return True
        self._said = self._certain()
        self._unread = self._unread[len(self._said) :]
        return False

    def _certain(self) -> str:
        """Text, without an end that may belong to a call that follows."""
        held = _overlap(self._unread, self._form.opening)
        return self._unread[: len(self._unread) - held].rstrip()

    def _read_name(self) -> bool:
        name, found, rest = self._unread.partition(self._form.between)
        if found:
            self._pieces.append(CallPiece(self.calls, "", name))
            self.calls += 1
            self._unread, self._read = rest, self._read_arguments
            self._object = _JsonObject()
        return bool(found)

    def _read_arguments(self) -> bool:
        arguments = self._object.take(self._unread)
        if arguments:
            self._pieces.append(CallPiece(self.calls - 1, arguments))
        self._unread = self._unread[len(arguments) :]
        if self._object.complete:
            self._read = self._read_next
        return self._object.complete

    def _read_next(self) -> bool:
        _, found, rest = self._unread.partition(self._form.opening)
        if found:
            self._unread, self._read = rest, self._read_name
        return bool(found)


class _JsonObject:
    """Finds the end of a JSON object."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.complete = False

    def take(self, text: str) -> str:
        """The part of the text that belongs to the object."""
        for at, character in enumerate(text):
            self._read(character)
            if self.complete:
                return text[: at + 1]
        return text

    def _read(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._quoted:
            self._escaped = character == "\\"
            self._quoted = character != '"'
        elif character == '"':
            self._quoted = True
        elif character in "{}":
            self._depth += 1 if character == "{" else -1
            self.complete = self._depth == 0


def _spaced(arguments: str) -> str:
    """JSON with white space as in answers."""
    return json.dumps(json.loads(arguments), ensure_ascii=False)


def _overlap(text: str, word: str) -> int:
    """Length of the longest end of `text` that `word` begins with."""
    return next((n for n in range(min(len(word), len(text)), 0, -1) if text.endswith(word[:n])), 0)
