"""Character Cards, as role-play frontends exchange them: JSON, or a picture that carries it.

Version 2 (https://github.com/malfoyslastname/character-card-spec-v2) is written; version 1, and
version 3, which adds to it, are read too. What the format has no place for, goes to extensions.
"""

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from registry.card import Card
from registry.persona import Persona
from specialists.creation.dialogue import exchanges_with, turns_of
from specialists.creation.material import Character, Exchange, Material, Passage, visible

SPEC, SPEC_VERSION = "chara_card_v2", "2.0"
SPECS = (SPEC, "chara_card_v3")
FIRST_VERSION = ("name", "description", "first_mes", "mes_example")
EXTENSION = "myriad"
OURS = ("starters", "disclosure", "avoids", "no_answer")
"""Of a persona, what the format has no place for."""
PNG = b"\x89PNG\r\n\x1a\n"
KEYWORDS = (b"ccv3", b"chara")
"""Of the texts in a picture, those that are cards; the first is taken."""
MOST_TAGS, LONGEST_TAG = 32, 64
LONGEST_ABOUT, LONGEST_SAID = 16000, 2000


def is_character(value: object) -> bool:
    """Whether a JSON value is a Character Card."""
    if not isinstance(value, Mapping):
        return False
    return value.get("spec") in SPECS or all(
        isinstance(value.get(name), str) for name in FIRST_VERSION
    )


def read_picture(content: bytes, source: str, _voice: str) -> Material:
    """The card in a PNG picture.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    if not content.startswith(PNG):
        raise ValueError("is no PNG picture")
    texts = dict(reversed([*_texts(content)]))
    found = next((texts[name] for name in KEYWORDS if name in texts), None)
    if found is None:
        raise ValueError("has no Character Card in it")
    try:
        value = json.loads(base64.b64decode(found, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"has a damaged Character Card: {error}") from error
    return character(value, source)


def character(value: Mapping[str, Any], source: str) -> Material:
    """What a Character Card says.

    Raises:
        ValueError: it cannot be used.
    """
    data = value["data"] if isinstance(value.get("data"), Mapping) else value
    name = _text(data, "name") or "Character"
    said = {key: _spoken_to(_text(data, key), name) for key in data}
    parts = ("description", "personality", "scenario", "system_prompt")
    about = "\n".join(filter(None, (said.get(part) for part in parts)))
    ours = _mapping(_mapping(data, "extensions"), EXTENSION)
    fields = {field: ours[field] for field in OURS if field in ours}
    fields |= {"name": name[:256], "about": about[:LONGEST_ABOUT] or None}
    fields["greeting"] = (said.get("first_mes") or "")[:LONGEST_SAID] or None
    try:
        persona = Persona.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"is a Character Card that cannot be used: {error}") from error
    tags = tuple(tag for tag in _list(data, "tags") if isinstance(tag, str) and tag.strip())
    return Material(
        passages=tuple(_book(data, name, source)),
        exchanges=tuple(_examples(_text(data, "mes_example"), name, source)),
        characters=(Character(persona, tuple(tag[:LONGEST_TAG] for tag in tags[:MOST_TAGS])),),
    )


def written(card: Card, version: int) -> dict[str, Any]:
    """A specialist's card as a Character Card, version 2."""
    owner, _, short = card.id.partition("/")
    persona = card.persona or Persona()
    ours = persona.model_dump(mode="json", include=set(OURS), exclude_defaults=True)
    examples = (
        f"<START>\n{{{{user}}}}: {each.request}\n{{{{char}}}}: {each.answer}"
        for each in persona.voice
    )
    return {
        "spec": SPEC,
        "spec_version": SPEC_VERSION,
        "data": {
            "name": persona.name or short,
            "description": persona.about or card.description,
            "personality": "",
            "scenario": "",
            "first_mes": persona.greeting or "",
            "mes_example": "\n".join(examples),
            "creator_notes": card.description,
            "system_prompt": "",
            "post_history_instructions": "",
            "alternate_greetings": [],
            "tags": list(card.tags),
            "creator": owner,
            "character_version": str(version),
            "extensions": {EXTENSION: ours | {"id": card.id}},
        },
    }


def in_picture(picture: bytes, card: Mapping[str, Any]) -> bytes:
    """A PNG picture that carries a card, in the place of whatever card it carried.

    Raises:
        ValueError: it is no PNG picture.
    """
    if not picture.startswith(PNG):
        raise ValueError("is no PNG picture")
    text = b"chara\0" + base64.b64encode(json.dumps(card).encode())
    found = [PNG]
    for kind, body in _chunks(picture):
        if kind == b"IEND":
            found.append(_chunk(b"tEXt", text))
        if kind != b"tEXt" or body.partition(b"\0")[0] not in KEYWORDS:
            found.append(_chunk(kind, body))
    return b"".join(found)


def _texts(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, body in _chunks(picture):
        if kind == b"tEXt":
            keyword, _, text = body.partition(b"\0")
            yield keyword, text


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and bodies: https://www.w3.org/TR/png-3/#5Chunk-layout."""
    at = len(PNG)
    while at < len(picture):
        try:
            length, kind = struct.unpack_from(">I4s", picture, at)
        except struct.error:
            raise ValueError("is a damaged PNG picture") from None
        yield kind, picture[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _examples(text: str, name: str, source: str) -> Iterator[Exchange]:
    """What the example dialogues say."""
    for block in re.split(r"(?i)<start>", text):
        told = _labelled(block, "char", f"<BOT>|{re.escape(name)}", "A")
        told = _labelled(told, "user", "<USER>", "Q")
        lines = ((_spoken_to(line, name), source) for line in told.split("\n"))
        yield from exchanges_with("A", turns_of(lines, "A"), source).exchanges


def _labelled(text: str, macro: str, also: str, label: str) -> str:
    """Dialogue whose lines by `{{macro}}:` begin with a label."""
    return re.sub(rf"(?im)^[^\S\n]*(?:\{{\{{{macro}\}}\}}|{also})\s*:", f"{label}:", text)


def _book(data: Mapping[str, Any], name: str, source: str) -> Iterator[Passage]:
    """What the character knows."""
    for entry in _list(_mapping(data, "character_book"), "entries"):
        if isinstance(entry, Mapping) and entry.get("enabled", True) and _text(entry, "content"):
            keys = [key for key in _list(entry, "keys") if isinstance(key, str)]
            title = _text(entry, "name") or next(iter(keys), "")
            text = _spoken_to(_text(entry, "content"), name)
            yield Passage(text, f"{source}, {title}" if title else source, title)


def _spoken_to(text: str, name: str) -> str:
    """Text with the names that its macros stand for."""
    named = re.sub(r"(?i)\{\{char\}\}|<BOT>", lambda _: name, text)
    return re.sub(r"(?i)\{\{user\}\}|<USER>", "you", named).strip()


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return visible(value.replace("\r\n", "\n")) if isinstance(value, str) else ""


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    return value if isinstance(value, list) else []


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}
