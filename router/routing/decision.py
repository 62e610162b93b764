"""The outcome of routing: who answers, why, and who else was considered."""

from dataclasses import dataclass

from registry.version import Canary


@dataclass(frozen=True, slots=True)
class Candidate:
    """A specialist's live version and how likely it is meant, from 0 to 1."""

    specialist: str
    version: int
    digest: str
    score: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers a request; the digest alone names the adapter from here on.

    Attributes:
        specialist: `owner/name`, or None when the base answers.
        version: Its number, or None.
        digest: The version's digest, or None.
        score: The best candidate's probability; None when nothing was compared.
        reason: One sentence for people.
        candidates: The best specialists that were compared, best first.
        generation: Number of the snapshot that was looked at; None when none was.
        fit: The best candidate's probability beside the base alone, which is what is asked whether
            it may answer; None when nothing was compared.
        canary: What is tried in the place of the version that was asked for, if anything is.
    """

    specialist: str | None
    version: int | None
    digest: str | None
    score: float | None
    reason: str
    candidates: tuple[Candidate, ...] = ()
    generation: int | None = None
    canary: Canary | None = None
    fit: float | None = None


def base_answers(reason: str, generation: int | None = None) -> Decision:
    """The decision for the base without anything compared."""
    return Decision(None, None, None, None, reason, generation=generation)
