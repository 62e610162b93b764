"""What requests may choose specialists by, beside what they are asked for."""

import json
from dataclasses import dataclass
from typing import Any

from registry.card import Card, folded
from registry.manifest import canonical


@dataclass(frozen=True, slots=True)
class Traits:
    """A version's tags, language and licence, as its card has them but case-folded.

    An empty language or licence is one that nobody knows.
    """

    tags: tuple[str, ...] = ()
    language: str = ""
    license: str = ""

    @classmethod
    def of(cls, card: Card) -> "Traits":
        """A card's."""
        return cls(card.tags, folded(card.language), folded(card.license or ""))

    @classmethod
    def stored(cls, text: str) -> "Traits":
        """Read what `text` wrote; of what this release does not understand nothing is known."""
        try:
            fields = json.loads(text)
            return cls(tuple(map(str, fields["tags"])), fields["language"], fields["license"])
        except (ValueError, KeyError, TypeError):
            return cls()

    @property
    def text(self) -> str:
        """Canonical JSON."""
        fields: dict[str, Any] = {
            "language": self.language,
            "license": self.license,
            "tags": list(self.tags),
        }
        return canonical(fields).decode()
