"""What is known of a version without its card, which may be long."""

import json
from dataclasses import dataclass
from typing import Any

from registry.card import Card, SamplingDefaults, folded
from registry.manifest import canonical

Score = tuple[str, str, float]
"""A metric, the digest of the held-out data, and the value."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a version's card says that it is chosen and answers by.

    Tags, language and licence are case-folded. An empty language or licence, and no price, is one
    that nobody knows; `scores` are those whose data is known by its digest; `sampling` is None
    where the card has to be asked: of versions that older releases wrote down.
    """

    tags: tuple[str, ...] = ()
    language: str = ""
    license: str = ""
    price: float | None = None
    scores: tuple[Score, ...] = ()
    sampling: SamplingDefaults | None = None

    @classmethod
    def of(cls, card: Card) -> "Traits":
        """A card's."""
        found = [(each.metric, each.data, each.value) for each in card.evaluation]
        scores = tuple((metric, data, value) for metric, data, value in found if data is not None)
        licence = folded(card.license or "")
        sampling = card.sampling or SamplingDefaults()
        return cls(card.tags, folded(card.language), licence, card.price, scores, sampling)

    @classmethod
    def stored(cls, text: str) -> "Traits":
        """Read what `text` wrote; of what this release does not understand nothing is known."""
        try:
            fields = json.loads(text)
            tags, price = tuple(map(str, fields["tags"])), fields.get("price")
            scores = tuple((str(m), str(d), float(v)) for m, d, v in fields.get("scores", ()))
            sampling = _sampling(fields.get("sampling"))
            return cls(tags, fields["language"], fields["license"], price, scores, sampling)
        except (ValueError, KeyError, TypeError):
            return cls()

    @property
    def text(self) -> str:
        """Canonical JSON; what is not known is left out."""
        fields: dict[str, Any] = {
            "language": self.language,
            "license": self.license,
            "tags": list(self.tags),
        }
        if self.price is not None:
            fields["price"] = self.price
        if self.scores:
            fields["scores"] = [list(each) for each in self.scores]
        if self.sampling is not None:
            fields["sampling"] = self.sampling.model_dump(exclude_none=True)
        return canonical(fields).decode()


def _sampling(fields: Any) -> SamplingDefaults | None:
    """None also where a later release wrote more than this one understands."""
    try:
        return None if fields is None else SamplingDefaults.model_validate(fields)
    except ValueError:
        return None
