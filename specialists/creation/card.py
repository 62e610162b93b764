"""What a card says of a persona and its material."""

from collections.abc import Mapping
from typing import Any

from registry.card import Card
from registry.persona import Persona
from specialists.creation.material import Material

LONGEST_DESCRIPTION = 2000


def title(identity: str) -> str:
    """Whose voice `owner/name` is, as far as its name tells."""
    return identity.partition("/")[2].replace("-", " ").replace("_", " ").title()


def persona_of(material: Material, said: Mapping[str, Any]) -> Persona:
    """What is known of a persona: from the first Character Card, and over it what is said.

    Raises:
        InvalidCard: a field is wrong.
    """
    fields: dict[str, Any] = {}
    for character in material.characters[:1]:
        fields |= character.persona.model_dump(exclude_defaults=True)
    # As a part of a card, so that a refusal names the field.
    whole = {"id": "some/body", "description": "Some body.", "persona": fields | dict(said)}
    return Card.of(whole).persona or Persona()


def fields_of(persona: Persona, material: Material, about: str | None = None) -> dict[str, Any]:
    """A card's fields; `about` is its description, by default what the persona says of itself."""
    described = about or (persona.about or "")[:LONGEST_DESCRIPTION]
    return {
        "description": described or f"Speaks for {persona.name}.",
        "tags": [tag for character in material.characters[:1] for tag in character.tags],
        "examples": persona.starters,
        "persona": persona.model_dump(exclude_defaults=True),
    }
