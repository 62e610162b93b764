"""The outcome of routing: who answers, why, and who else was considered."""

from dataclasses import dataclass
from typing import Literal

from registry.version import Canary
from router.routing.odds import against_base

Rule = Literal[
    "named",
    "likeliest",
    "preferred",
    "quality",
    "warmth",
    "price",
    "unlikely",
    "empty",
    "chore",
    "nothing passes",
    "nothing registered",
]
"""What decided: the request's own words, probabilities for a specialist, the request's preference
among some about as likely, or among some equally likely better scores, being in memory or a lower
price; probabilities against all, a request without text, one that a chat interface sends on its
own, or that there is nobody to choose."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A specialist's live version and how likely it is meant, from 0 to 1."""

    specialist: str
    version: int
    digest: str
    score: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a comparison found beside the candidates.

    Attributes:
        read: The text that was compared.
        odds: Of the best candidate against the base, as a logarithm.
        base: The probability that no specialist is meant.
        unprobed: Specialists that may well be meant, and have no probe.
    """

    read: str
    odds: float
    base: float
    unprobed: tuple[str, ...] = ()

    @property
    def fit(self) -> float:
        """The best candidate's probability beside the base alone, from 0 to 1."""
        return against_base(self.odds)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers a request; the digest alone names the adapter from here on.

    Attributes:
        specialist: `owner/name`, or None when the base answers.
        version: Its number, or None.
        digest: The version's digest, or None.
        score: The best candidate's probability; None when nothing was compared.
        reason: One sentence for people.
        candidates: The likeliest specialists, likeliest first.
        generation: Number of the snapshot that was looked at; None when none was.
        canary: What is tried in the place of the version that was asked for, if anything is.
        rule: What decided.
        evidence: What a comparison found; None when nothing was compared.
        milliseconds: That deciding took; None where nobody measured it.
    """

    specialist: str | None
    version: int | None
    digest: str | None
    score: float | None
    reason: str
    candidates: tuple[Candidate, ...] = ()
    generation: int | None = None
    canary: Canary | None = None
    rule: Rule = "named"
    evidence: Evidence | None = None
    milliseconds: float | None = None

    @property
    def margin(self) -> float | None:
        """How much likelier the best candidate is than the next one, or than the base."""
        if self.evidence is None:
            return None
        best, *others = (candidate.score for candidate in self.candidates)
        return best - max([self.evidence.base, *others])


def base_answers(reason: str, rule: Rule, generation: int | None = None) -> Decision:
    """The decision for the base without anything compared."""
    return Decision(None, None, None, None, reason, rule=rule, generation=generation)
