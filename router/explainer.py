"""Which examples speak for a decision."""

from dataclasses import dataclass

import numpy as np

from registry.errors import RegistryError, StorageError
from registry.registry import Registry
from router.routing.decision import Candidate, Decision
from router.routing.encoder import Encoder

CANDIDATES = 2
EXAMPLES = 64
"""Of a card, that are read."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class NearExample:
    """A candidate's example, and its cosine to what was asked."""

    specialist: str
    text: str
    similarity: float


class Explainer:
    """Finds the examples that lie nearest to a request; only those that cards show to everybody."""

    def __init__(self, registry: Registry, encoder: Encoder) -> None:
        """Read cards from `registry`; compare texts as routing does, with `encoder`."""
        self._registry = registry
        self._encoder = encoder

    def nearest(self, decision: Decision) -> list[NearExample]:
        """The nearest examples of the likeliest candidates, each one's nearest first.

        Raises:
            StorageError: the registry cannot be read.
        """
        if decision.evidence is None:
            return []
        found: list[NearExample] = []
        for candidate in decision.candidates[:CANDIDATES]:
            found += self._nearest(candidate, decision.evidence.read)
        return found

    def _nearest(self, candidate: Candidate, read: str) -> list[NearExample]:
        texts = self._examples(candidate.digest)
        if not texts:
            return []
        vectors = self._encoder.encode([read, *texts])
        near = vectors[1:] @ vectors[0]
        return [
            NearExample(candidate.specialist, texts[at], round(float(near[at]), 4))
            for at in np.argsort(-near, kind="stable")[:SHOWN]
        ]

    def _examples(self, digest: str) -> list[str]:
        try:
            return list(self._registry.card(digest).examples[:EXAMPLES])
        except StorageError:
            raise
        except RegistryError:
            # What this release cannot read, or what was removed meanwhile, explains nothing.
            return []
