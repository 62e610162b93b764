"""Rows of fields: CSV, JSON and JSON lines, as posts are exported and questions are kept."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from specialists.creation.character_card import character, is_character
from specialists.creation.documents import as_text, plain
from specialists.creation.material import Exchange, Material, together
from specialists.training.formats import NotAChat, as_chat
from specialists.training.tool_formats import NotACall

QUESTIONS = ("question", "q", "prompt", "request", "query", "frage")
ANSWERS = ("answer", "a", "response", "reply", "completion", "antwort")
TEXTS = (
    "text",
    "full_text",
    "content",
    "body",
    "caption",
    "message",
    "post",
    "transcript",
    "selftext",
    "article",
)
TITLES = ("title", "headline", "subject", "heading")
SEPARATORS = ",;\t|"
LARGEST_FIELD = 16 * 1024 * 1024


def read_csv(content: bytes, source: str, voice: str) -> Material:
    """Rows by the names in the first one."""
    text = as_text(content)
    head = text.partition("\n")[0]
    csv.field_size_limit(LARGEST_FIELD)
    try:
        between = max(SEPARATORS, key=head.count)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=between))
    except csv.Error as error:
        raise ValueError(f"is no table: {error}") from error
    found = together(_csv_row(row, f"{source}, row {at}", voice) for at, row in enumerate(rows, 1))
    return _not_nothing(found, list(rows[0]) if rows else [])


def _csv_row(row: Mapping[Any, Any], source: str, voice: str) -> Material:
    # The reader keeps under None what goes beyond the names of the first row.
    if None in row:
        reason = "has more fields than the first row: put texts with separators in quotes"
        return Material(unused=(f"{source}: {reason}",))
    return _material(row, source, voice)


def read_json(content: bytes, source: str, voice: str) -> Material:
    """Whatever objects with text there are, however deep."""
    try:
        value = json.loads(as_text(content))
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if is_character(value):
        return character(value, source)
    return _not_nothing(together(_objects(value, source, voice)), _names(value))


def read_json_lines(content: bytes, source: str, voice: str) -> Material:
    """The same of each line."""
    values = []
    for number, line in enumerate(as_text(content).split("\n"), 1):
        try:
            values += [(number, json.loads(line))] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"is not JSON in line {number}: {error}") from error
    parts = (_objects(value, f"{source}, line {number}", voice) for number, value in values)
    found = together(each for part in parts for each in part)
    return _not_nothing(found, _names([value for _, value in values]))


def _objects(value: object, source: str, voice: str) -> Iterator[Material]:
    if isinstance(value, list):
        for at, each in enumerate(value, 1):
            yield from _objects(each, f"{source}, {at}", voice)
    elif isinstance(value, Mapping):
        found = _material(value, source, voice)
        yield found
        if found == Material():
            for name, each in value.items():
                if isinstance(each, list | Mapping):
                    yield from _objects(each, f"{source}, {name}", voice)


def _material(row: Mapping[Any, Any], source: str, voice: str) -> Material:
    fields = {str(name).strip().casefold(): value for name, value in row.items()}
    chat = _chat(row, source)
    if chat:
        return Material(exchanges=tuple(chat))
    asked, answer = _first(fields, QUESTIONS), _first(fields, ANSWERS)
    if asked and answer:
        return Material(exchanges=(Exchange(asked, answer, source),))
    text, title = _first(fields, TEXTS), _first(fields, TITLES)
    return plain(text, source, voice, title) if text else Material()


def _chat(row: Mapping[Any, Any], source: str) -> list[Exchange]:
    """Each answer of a row of training data, with what was said just before it."""
    try:
        turns = as_chat(row)["messages"]
    except (NotAChat, NotACall):
        return []
    return [
        Exchange(str(asked["content"]), str(answer["content"]), source)
        for asked, answer in pairwise(turns)
        if (asked["role"], answer["role"]) == ("user", "assistant")
    ]


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = (fields.get(name) for name in names)
    return next((each.strip() for each in found if isinstance(each, str) and each.strip()), "")


def _names(value: object) -> list[str]:
    while isinstance(value, list) and value:
        value = value[0]
    return list(value) if isinstance(value, Mapping) else []


def _not_nothing(found: Material, names: list[str]) -> Material:
    if found == Material():
        known = ", ".join(TEXTS + QUESTIONS[:1] + ANSWERS[:1])
        has = ", ".join(map(str, names[:12])) or "nothing"
        raise ValueError(f"has no field with text ({known}); it has {has}")
    return found
