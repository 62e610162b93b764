"""Thoughts: what a base writes between marks before it answers."""

from dataclasses import dataclass

from specialists.engine.lark import literal
from specialists.engine.stop_texts import undecided

MARKS = OPENING, CLOSING = "<think>", "</think>"
"""As DeepSeek's R1 and what was distilled from it write them, and Qwen, Nemotron, Hermes."""

NONE = f"\n{CLOSING}\n\n"
"""What closes thoughts that were opened before there were any."""
GAP = r"GAP: /\s{0,3}/"
"""White space around marks, in llguidance's Lark: a small base loses itself in more."""
BY_TEXT = (rf"closed[lazy]: /(.|\n)*/ {literal(CLOSING)}", GAP)
"""Thoughts up to a mark that is text, lazily: once it stands there, they have ended."""
BY_TOKEN = (f"closed: UNMARKED {CLOSING}", r"UNMARKED: /(.|\n)*/ & ~/(.|\n)*<\/think>(.|\n)*/", GAP)
"""Thoughts up to a mark that is a token, which they do not spell otherwise."""


def opened(text: str) -> bool:
    """Whether a text ends within thoughts."""
    return text.rfind(OPENING) > text.rfind(CLOSING)


def just_opened(text: str) -> bool:
    """Whether a text ends where thoughts begin."""
    return text.rstrip().endswith(OPENING)


def apart(text: str) -> tuple[str, str]:
    """An answer's thoughts, and the answer itself; of one that ends within them it is all text."""
    before, closed, after = text.partition(CLOSING)
    if not closed:
        return "", text
    return before.strip().removeprefix(OPENING).strip(), after.lstrip()


@dataclass(frozen=True, slots=True)
class Thoughts:
    """How what follows a prompt may be thought over.

    Attributes:
        opened: whether the prompt has opened thoughts.
        own_tokens: whether marks are tokens of their own, which no text spells.
        most: tokens that they may take, before what closes them; None is any number.
    """

    opened: bool
    own_tokens: bool = False
    most: int | None = None

    def reader(self) -> "ThoughtReader":
        """What tells them from an answer."""
        return ThoughtReader(thinking=self.opened)

    def before(self, rules: str) -> str:
        """Answers as a grammar has them, after any thoughts; both in llguidance's Lark."""
        opening = OPENING if self.own_tokens else literal(OPENING)
        thoughts = "thoughts" if self.opened else f"(GAP {opening} thoughts)?"
        return "\n".join(
            [
                f"start: {thoughts} answer",
                "thoughts: closed GAP",
                *(BY_TOKEN if self.own_tokens else BY_TEXT),
                "answer: %lark {",
                rules,
                "}",
            ]
        )


class ThoughtReader:
    """Tells thoughts from the answer that follows them, as both come.

    White space around thoughts is part of neither.
    """

    def __init__(self, *, thinking: bool) -> None:
        """Read an answer from its beginning.

        Args:
            thinking: whether it begins within thoughts, which the prompt has opened.
        """
        self.thinking = thinking
        """Whether what comes next belongs to thoughts, as far as is known."""
        self._unread = ""
        self._begun = False
        # Whether white space that comes next stands between thoughts and an answer.
        self._between = thinking

    def push(self, text: str) -> tuple[str, str]:
        """What new text adds: to the thoughts, and to the answer."""
        self._unread += text
        if not self._begun and not self._begin():
            return "", ""
        thought = self._thought() if self.thinking else ""
        return thought, "" if self.thinking else self._said()

    def end(self) -> tuple[str, str]:
        """What was held back since a mark might have begun there."""
        return (self._next().rstrip(), "") if self.thinking else ("", self._unread)

    def _begin(self) -> bool:
        """Read the opening mark, if there is one; False while there may be."""
        text = self._unread.lstrip()
        if text != OPENING and OPENING.startswith(text):
            return False
        self._begun = True
        if text.startswith(OPENING):
            self.thinking = self._between = True
            self._unread = text.removeprefix(OPENING)
        return True

    def _thought(self) -> str:
        text, closed, rest = self._next().partition(CLOSING)
        if closed:
            self.thinking, self._between, self._unread = False, True, rest
            return text.rstrip()
        certain = text[: len(text) - undecided(text, (CLOSING,))].rstrip()
        self._between = self._between and not certain
        self._unread = text[len(certain) :]
        return certain

    def _said(self) -> str:
        text, self._unread = self._next(), ""
        self._between = self._between and not text
        return text

    def _next(self) -> str:
        return self._unread.lstrip() if self._between else self._unread
