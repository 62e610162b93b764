"""Subtitles: SubRip (`.srt`) and WebVTT (`.vtt`, https://www.w3.org/TR/webvtt1)."""

import html
import re
from collections.abc import Iterator, Sequence

from specialists.creation.dialogue import exchanges_with, turns_of
from specialists.creation.documents import as_text
from specialists.creation.material import MOST_WORDS, Material, Passage, pieces

_TIME = re.compile(r"^\s*((?:\d+:)?\d{1,2}:\d{2})[.,]\d+\s*-->")
_VOICE = re.compile(r"<v(?:\.[^ <>]*)?\s+([^\s<>][^<>]*)>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def read_subtitles(content: bytes, source: str, voice: str) -> Material:
    """A talk, in passages with the time when each begins; or a dialogue."""
    cues = list(_cues(as_text(content)))
    if not cues:
        raise ValueError("has no subtitles")
    turns = turns_of(((text, f"{source}, {time}") for time, text in cues), voice)
    if turns:
        return exchanges_with(voice, turns, source)
    return Material(tuple(_passages(cues, source)))


def _cues(text: str) -> Iterator[tuple[str, str]]:
    """When a subtitle is shown, and what it says; one that is repeated is told once."""
    last = ""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().split("\n")
        at = next((at for at, line in enumerate(lines) if _TIME.match(line)), None)
        if at is None:
            continue
        begin = _TIME.match(lines[at])
        said = " ".join(_VOICE.sub(r"\1: ", line) for line in lines[at + 1 :])
        said = " ".join(html.unescape(_TAG.sub("", said)).split())
        if begin and said and said != last:
            last = said
            yield begin[1], said


def _passages(cues: Sequence[tuple[str, str]], source: str) -> Iterator[Passage]:
    part: list[str] = []
    begin, words = "", 0
    for time, text in cues:
        begin = begin or time
        part.append(text)
        words += len(text.split())
        if words >= MOST_WORDS // 2 and text.endswith((".", "!", "?", "…")):
            yield from _passage(part, f"{source}, {begin}")
            part, begin, words = [], "", 0
    yield from _passage(part, f"{source}, {begin}")


def _passage(part: Sequence[str], source: str) -> Iterator[Passage]:
    yield from (Passage(text, source) for text in pieces([" ".join(part)]))
