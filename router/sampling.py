"""How an answer's tokens are chosen: what a request, a card or a base says of it."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling parameters in OpenAI's terms. None leaves one to whoever is asked next.

    Attributes:
        max_tokens: Most tokens of an answer, at least 1.
        temperature: 0 is greedy.
        top_p: Nucleus, in [0, 1]; 0 is greedy.
        seed: Makes sampling repeatable; None is fresh each time.
        stop: Texts that end an answer; they are not part of it.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    @property
    def set(self) -> dict[str, Any]:
        """The parameters that are not left open."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def over(self, other: "Sampling") -> "Sampling":
        """These parameters, and the other's where these are left open."""
        return Sampling(**{**other.set, **self.set})
