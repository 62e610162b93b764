"""What the licences along a lineage ask of what is made of them. Hints for owners, no legal advice.

Licences are known by their SPDX or Hugging Face names (https://hf.co/docs/hub/repositories-licenses);
what is not known is let pass. What Llama's licences ask for: https://www.llama.com/llama3_1/license
(1.b.i: the notice, and a name that begins with Llama).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from registry.card import Card

NOTICE = "Built with Llama"
_SHARE_ALIKE = re.compile(
    r"cc-by(-nc)?-sa|gpl|agpl|lgpl|odbl|cdla-sharing|openrail|bigscience-openrail|creativeml-openrail"
)


@dataclass(frozen=True, slots=True)
class Licensed:
    """Something that a version was made from, and its licence."""

    label: str
    license: str

    @property
    def terms(self) -> str:
        """The licence's name in one spelling."""
        return re.sub(r"[\s_]+", "-", self.license.strip().casefold())

    @property
    def llama(self) -> bool:
        """Whether it is one of Llama's."""
        return bool(re.match(r"(meta-)?llama-?\d", self.terms))

    @property
    def non_commercial(self) -> bool:
        """Whether it forbids commercial use."""
        return "-nc" in self.terms or "non-commercial" in self.terms or "research" in self.terms

    @property
    def no_derivatives(self) -> bool:
        """Whether it forbids to pass on what is made of it."""
        return self.terms.startswith("cc-by") and "-nd" in self.terms

    @property
    def share_alike(self) -> bool:
        """Whether what is made of it must stand under the same licence."""
        return _SHARE_ALIKE.match(self.terms) is not None


def warnings(card: Card, origins: Iterable[Licensed]) -> list[str]:
    """What a card lacks, and what does not go together, in sentences."""
    own = Licensed(card.id, card.license) if card.license else None
    found = list(dict.fromkeys(origins))
    return [*_of_each(card, own, found), *_between(found)]


def _of_each(card: Card, own: Licensed | None, origins: list[Licensed]) -> Iterator[str]:
    for each in origins:
        stands = f"{each.label} stands under {each.license}, which"
        if each.no_derivatives:
            yield f"{stands} forbids to pass on what is made of it."
        elif each.share_alike and (own is None or own.terms != each.terms):
            yield f"{stands} asks for the same licence: say 'license: {each.license}' in the card."
        elif each.non_commercial and (own is None or not own.non_commercial):
            yield f"{stands} forbids commercial use: choose a licence that forbids it too."
        if each.llama:
            yield from _llama(card, stands)


def _llama(card: Card, stands: str) -> Iterator[str]:
    if NOTICE.casefold() not in card.description.casefold():
        yield f"{stands} asks for the words '{NOTICE}': put them into the description."
    if not card.id.partition("/")[2].startswith("llama"):
        yield f"{stands} asks for a name that begins with 'llama'."


def _between(origins: list[Licensed]) -> Iterator[str]:
    """Two licences that each ask to be the only one."""
    demanding = list({each.terms: each for each in origins if each.share_alike}.values())
    for one, other in pairwise(demanding):
        yield (
            f"{one.label} ({one.license}) and {other.label} ({other.license}) each ask for their "
            "own licence: nothing can be made of both."
        )
