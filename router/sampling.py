"""How an answer's tokens are chosen: what a request, a card or a base says of it."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling parameters in OpenAI's terms. None leaves one to whoever is asked next.

    Attributes:
        max_tokens: Most tokens of an answer; 0 for none, where the prompt alone is wanted.
        temperature: 0 is greedy.
        top_p: Nucleus, in [0, 1]; 0 is greedy.
        top_k: How many of the likeliest tokens are kept; 0 keeps all.
        min_p: Least probability that is kept, as a share of the likeliest token's.
        frequency_penalty: Taken off a token's logit for each time it stands in the answer.
        presence_penalty: Taken off a token's logit if it stands in the answer.
        repetition_penalty: Divides logits of tokens in prompt and answer; 1 changes nothing.
        logit_bias: Pairs of a token's id and what is added to its logit.
        seed: Makes sampling repeatable; None is fresh each time.
        stop: Texts that end an answer; they are not part of it.
        stop_token_ids: Tokens that end an answer beside the base's own; they are not part of it.
        min_tokens: Before so many nothing but a stop text ends an answer.
        ignore_eos: Whether the base's own tokens do not end one.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    stop_token_ids: tuple[int, ...] | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None

    @property
    def set(self) -> dict[str, Any]:
        """The parameters that are not left open."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def over(self, other: "Sampling") -> "Sampling":
        """These parameters, and the other's where these are left open."""
        return Sampling(**{**other.set, **self.set})
