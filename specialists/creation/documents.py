"""Markdown and plain text."""

import re
from collections.abc import Iterable, Iterator

from charset_normalizer import from_bytes
from markdown_it import MarkdownIt
from markdown_it.token import Token

from specialists.creation.dialogue import exchanges_with, turns_of
from specialists.creation.material import Material, together, under_title

_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_BLANK = re.compile(r"\n\s*\n")


def as_text(content: bytes) -> str:
    """A file's text, in whatever encoding it seems to be.

    Raises:
        ValueError: it seems to be none.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        found = from_bytes(content).best()
        if found is None:
            raise ValueError("is not text") from None
        text = str(found)
    if "\0" in text:
        raise ValueError("is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_markdown(content: bytes, source: str, voice: str) -> Material:
    """Sections by their headings; one whose heading asks is an exchange."""
    text = _FRONT_MATTER.sub("", as_text(content))
    return _dialogue(text, source, voice) or together(
        under_title(title, paragraphs, f"{source}, {title}" if title else source)
        for title, paragraphs in _sections(MarkdownIt().parse(text))
    )


def read_text(content: bytes, source: str, voice: str) -> Material:
    """Paragraphs between blank lines, or a dialogue."""
    return plain(as_text(content), source, voice)


def plain(text: str, source: str, voice: str, title: str = "") -> Material:
    """The same of a text that was read already."""
    paragraphs = [each.strip() for each in _BLANK.split(text) if each.strip()]
    return _dialogue(text, source, voice) or under_title(title, paragraphs, source)


def _dialogue(text: str, source: str, voice: str) -> Material | None:
    lines = ((line, f"{source}, line {at}") for at, line in enumerate(text.split("\n"), 1))
    turns = turns_of(lines, voice)
    return exchanges_with(voice, turns, source) if turns else None


def _sections(tokens: Iterable[Token]) -> Iterator[tuple[str, list[str]]]:
    """Titles, and the paragraphs under each."""
    title, paragraphs, in_heading, in_list = "", list[str](), False, 0
    for token in tokens:
        if token.type == "heading_open":
            yield title, paragraphs
            title, paragraphs, in_heading = "", [], True
        elif token.type == "heading_close":
            in_heading = False
        elif token.type in ("list_item_open", "list_item_close"):
            in_list += token.nesting
        elif token.type in ("fence", "code_block"):
            paragraphs.append(token.content.rstrip())
        elif token.type == "inline" and in_heading:
            title = _words(token)
        elif token.type == "inline":
            paragraphs.append(("- " if in_list else "") + _words(token))
    yield title, paragraphs


def _words(token: Token) -> str:
    """What a reader sees of a line: no marks, no addresses of links."""
    breaks = {"softbreak": " ", "hardbreak": "\n"}
    parts = (
        breaks.get(child.type, child.content if child.type in ("text", "code_inline") else "")
        for child in token.children or ()
    )
    return "".join(parts).strip()
