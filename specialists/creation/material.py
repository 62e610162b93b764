"""Material: what somebody wrote or said, piece by piece, each with where it stands."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from registry.persona import Persona
from registry.readable import CONTROL

FEWEST_WORDS = 8
"""Of a passage: what is shorter says too little by itself."""
MOST_WORDS = 150
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some sentences, under a `title` if they stood under one."""

    text: str
    source: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer in the creator's own words."""

    request: str
    answer: str
    source: str


@dataclass(frozen=True, slots=True)
class Character:
    """Somebody whose persona was written down elsewhere."""

    persona: Persona
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """What was found, and what could not be used, with the reasons."""

    passages: tuple[Passage, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    characters: tuple[Character, ...] = ()
    unused: tuple[str, ...] = ()


def together(parts: Iterable[Material]) -> Material:
    """All of it."""
    found = list(parts)
    return Material(
        tuple(passage for part in found for passage in part.passages),
        tuple(exchange for part in found for exchange in part.exchanges),
        tuple(character for part in found for character in part.characters),
        tuple(reason for part in found for reason in part.unused),
    )


def visible(text: str) -> str:
    """A text without signs that nobody sees, which neither cards nor terminals take."""
    return CONTROL.sub(" ", text).strip()


def cleaned(material: Material) -> Material:
    """The same without invisible signs, and without exchanges of which either side says nothing."""
    passages = (
        Passage(visible(each.text), each.source, visible(each.title)) for each in material.passages
    )
    exchanges = (
        Exchange(visible(each.request), visible(each.answer), each.source)
        for each in material.exchanges
    )
    return Material(
        tuple(each for each in passages if each.text),
        tuple(each for each in exchanges if each.request and each.answer),
        material.characters,
        material.unused,
    )


def under_title(title: str, paragraphs: Sequence[str], source: str) -> Material:
    """What stands under a title: the answer, if the title asks; else passages."""
    text = "\n".join(paragraphs).strip()
    if title.endswith("?") and text and len(text.split()) <= 2 * MOST_WORDS:
        return Material(exchanges=(Exchange(title, text, source),))
    return Material(tuple(Passage(each, source, title) for each in pieces(paragraphs)))


def pieces(paragraphs: Iterable[str]) -> Iterator[str]:
    """Paragraphs put together, and cut between sentences, to at most about `MOST_WORDS`."""
    piece: list[str] = []
    words = 0
    for part in (part for paragraph in paragraphs for part in _cut(paragraph)):
        count = len(part.split())
        if piece and words + count > MOST_WORDS:
            yield from _long_enough(piece)
            piece, words = [], 0
        piece.append(part)
        words += count
    yield from _long_enough(piece)


def _long_enough(piece: Sequence[str]) -> Iterator[str]:
    text = "\n".join(piece).strip()
    if len(text.split()) >= FEWEST_WORDS:
        yield text


def _cut(paragraph: str) -> Iterator[str]:
    if len(paragraph.split()) <= MOST_WORDS:
        yield paragraph
        return
    part: list[str] = []
    for sentence in _SENTENCE_END.split(paragraph):
        if part and len(" ".join([*part, sentence]).split()) > MOST_WORDS:
            yield " ".join(part)
            part = []
        part.append(sentence)
    yield " ".join(part)
