"""Cards as files: found beside an adapter, completed after training, written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from registry.card import Card, Example
from registry.card_text import read_fields

if TYPE_CHECKING:
    from specialists.training.data import Row
    from specialists.training.evaluate import Score

FILES = ("card.yaml", "card.yml", "card.json")
MAX_EXAMPLES = 160
_EXAMPLE = TypeAdapter[str](Example)


def find_card(folder: Path) -> Path | None:
    """The card of an adapter's folder: inside it, or one level up."""
    places = (place / name for place in (folder, folder.parent) for name in FILES)
    return next((file for file in places if file.is_file()), None)


def load_card(specialist: str, file: Path | None, description: str | None) -> Card:
    """The card in `file`, under the id `specialist`; a description given here goes first.

    Raises:
        InvalidCard: the file cannot be used.
        BadParameter: there is neither a card nor a description.
    """
    fields: dict[str, Any] = dict(read_fields(file.read_bytes())) if file else {}
    named = {key: value for key, value in fields.items() if key not in ("id", "owner", "name")}
    if description is not None:
        named["description"] = description
    if "description" not in named:
        raise typer.BadParameter(
            "nothing says what the specialist is for: add --description TEXT or --card FILE"
        )
    return Card.of({"id": specialist, **named})


def complete(
    card: Card, base: str, base_digest: str, rows: "list[Row]", scores: "list[Score]"
) -> Card:
    """The card after training: made for `base`, with example requests and held-out scores.

    The author's examples stay first; training requests fill them up to MAX_EXAMPLES.
    """
    evaluation = [
        {
            "metric": score.metric,
            "value": score.value,
            "base_value": score.base_value,
            "rows": score.rows,
            "data": score.data,
        }
        for score in scores
    ]
    fields = card.model_dump(exclude_defaults=True)
    fields |= {"base": base, "base_digest": base_digest}
    requests = [row.first_request for row in rows if row.first_request not in card.examples]
    fields["examples"] = [*card.examples, *_spread(requests, MAX_EXAMPLES - len(card.examples))]
    if evaluation:
        fields["evaluation"] = evaluation
    return Card.of(fields)


def write_card(card: Card, file: Path) -> None:
    """Write a card as YAML, to be read and edited by people."""
    fields = card.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=96)
    file.write_text(text, encoding="utf-8")


def _spread(requests: list[str], most: int) -> list[str]:
    """Up to `most` distinct requests that a card takes, evenly spread over all."""
    distinct = [request for request in dict.fromkeys(requests) if _fits(request)]
    count = max(0, min(len(distinct), most))
    return [distinct[place * len(distinct) // count] for place in range(count)]


def _fits(request: str) -> bool:
    try:
        _EXAMPLE.validate_python(request)
    except ValidationError:
        return False
    return True
