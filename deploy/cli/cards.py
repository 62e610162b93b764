"""Cards as files: found beside an adapter, and written there."""

from pathlib import Path
from typing import Any

import typer
import yaml

from registry.card import Card, Dataset
from registry.card_text import read_fields
from registry.digests import digest_file
from registry.private import private_file

FILES = ("card.yaml", "card.yml", "card.json")
MODEL_CARD = "README.md"
LONGEST_TAG, MOST_TAGS, LONGEST_DESCRIPTION = 64, 32, 2000
PRIVATE = "private_examples.yaml"
"""Beside a card: requests that serve routing and are shown to nobody."""


def find_card(folder: Path, *, beside: bool = True) -> Path | None:
    """The card of an adapter's folder: inside it, or `beside` it; else the Hub's model card."""
    around = (folder, folder.parent) if beside else (folder,)
    places = [place / name for place in around for name in FILES]
    return next((file for file in (*places, folder / MODEL_CARD) if file.is_file()), None)


def _fields(file: Path) -> dict[str, Any]:
    if file.suffix != ".md":
        return dict(read_fields(file.read_bytes()))
    return _of_model_card(file.read_text(encoding="utf-8", errors="replace"))


def _of_model_card(text: str) -> dict[str, Any]:
    """What a model card says that a card does: https://huggingface.co/docs/hub/model-cards.

    Its first paragraph that is no heading, list, picture or table is the description.
    """
    head, body = "", text
    if text.startswith("---\n") and "\n---" in text[4:]:
        head, _, body = text[4:].partition("\n---")
    try:
        said = yaml.safe_load(head) or {}
    except yaml.YAMLError:
        said = {}
    found = said if isinstance(said, dict) else {}
    tags = [
        tag for tag in found.get("tags") or () if isinstance(tag, str) and len(tag) <= LONGEST_TAG
    ]
    fields: dict[str, Any] = {"tags": tags[:MOST_TAGS]} if tags else {}
    for name in ("license", "language"):
        if isinstance(found.get(name), str):
            fields[name] = found[name]
    paragraphs = (" ".join(each.split()) for each in body.strip().split("\n\n"))
    told = next((each for each in paragraphs if each and each[0] not in "#<!|[-*`>"), None)
    return fields | ({"description": told[:LONGEST_DESCRIPTION]} if told else {})


def load_card(
    specialist: str,
    file: Path | None,
    description: str | None,
    folder: Path | None = None,
    otherwise: str | None = None,
) -> Card:
    """The card in `file`, under the id `specialist`; a description given here goes first.

    Args:
        specialist: its id, whatever the file says.
        file: the card, if there is one.
        description: in the place of the card's.
        folder: the adapter's, which may hold private examples.
        otherwise: the description, where the card has none.

    Raises:
        InvalidCard: the file cannot be used.
        BadParameter: nothing describes it.
    """
    fields = _fields(file) if file else {}
    named = {key: value for key, value in fields.items() if key not in ("id", "owner", "name")}
    if description is not None:
        named["description"] = description
    if folder is not None and (folder / PRIVATE).is_file():
        named = {**read_fields((folder / PRIVATE).read_bytes()), **named}
    if otherwise is not None:
        named.setdefault("description", otherwise)
    if "description" not in named:
        raise typer.BadParameter(
            "nothing says what the specialist is for: add --description TEXT or --card FILE"
        )
    return Card.of({"id": specialist, **named})


def dataset(file: Path, rows: int) -> Dataset:
    """A file of training rows, by its content."""
    return Dataset(name=file.name, digest=digest_file(file), rows=rows)


def write_card(card: Card, folder: Path) -> None:
    """Write a card as YAML, to be read and edited; what is private goes into a file of its own."""
    fields = card.model_dump(mode="json", exclude_defaults=True)
    private = {key: fields.pop(key) for key in ("private_examples",) if fields.get(key)}
    (folder / FILES[0]).write_text(_yaml(fields), encoding="utf-8")
    (folder / PRIVATE).unlink(missing_ok=True)
    if private:
        private_file(folder / PRIVATE)
        (folder / PRIVATE).write_text(_yaml(private), encoding="utf-8")


def _yaml(fields: dict[str, Any]) -> str:
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=96)
