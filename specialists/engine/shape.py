"""What one row's parameters change of its logits, kept up from step to step.

Each step costs what the newest tokens do, however long prompt and answer are.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray


class TokenCounts:
    """Some tokens, each once, and how often each came."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._tokens: NDArray[np.int64] = np.empty(64, np.int64)
        self._counts: NDArray[np.float32] = np.zeros(64, np.float32)

    @property
    def tokens(self) -> torch.Tensor:
        """Int64 [tokens]; good until more are added."""
        return torch.from_numpy(self._tokens[: len(self._places)])

    @property
    def counts(self) -> torch.Tensor:
        """Of each, float32 [tokens]; good until more are added."""
        return torch.from_numpy(self._counts[: len(self._places)])

    def add(self, tokens: Iterable[int]) -> None:
        """Count some more."""
        for token in tokens:
            place = self._places.setdefault(token, len(self._places))
            if place == len(self._tokens):
                self._tokens = np.concatenate([self._tokens, np.empty_like(self._tokens)])
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._tokens[place] = token
            self._counts[place] += 1


class Shape:
    """Penalties and biases of a row; of its tokens those are known that it was shown last."""

    def __init__(
        self,
        prompt_length: int,
        *,
        repetition: float,
        frequency: float,
        presence: float,
        biases: Sequence[tuple[int, float]],
    ) -> None:
        """Take a row's parameters, see `SamplingParams`."""
        self._prompt_length = prompt_length
        self._repetition = repetition
        self._frequency = frequency
        self._presence = presence
        tokens, values = zip(*biases, strict=True) if biases else ((), ())
        self._biased = torch.tensor(tokens, dtype=torch.int64)
        self._biases = torch.tensor(values, dtype=torch.float32)
        self._seen, self._used = TokenCounts(), TokenCounts()
        self._read = 0

    def apply(self, logits: torch.Tensor, tokens: list[int]) -> None:
        """Change a row's logits, float32 [vocabulary]; `tokens` are its prompt and answer."""
        self._count(tokens)
        if self._repetition != 1:
            self._penalise_repetition(logits)
        if self._frequency or self._presence:
            self._penalise_use(logits)
        if len(self._biased):
            logits[self._biased.to(logits.device)] += self._biases.to(logits.device)

    def _count(self, tokens: list[int]) -> None:
        if self._repetition != 1:
            self._seen.add(islice(tokens, self._read, None))
        if self._frequency or self._presence:
            self._used.add(islice(tokens, max(self._read, self._prompt_length), None))
        self._read = len(tokens)

    def _penalise_repetition(self, logits: torch.Tensor) -> None:
        """Divide what was seen in prompt or answer by the penalty (CTRL, Keskar et al. 2019)."""
        seen = self._seen.tokens.to(logits.device)
        before = logits[seen]
        logits[seen] = torch.where(before > 0, before / self._repetition, before * self._repetition)

    def _penalise_use(self, logits: torch.Tensor) -> None:
        """Take something off for each time a token stands in the answer, and once if it does.

        https://platform.openai.com/docs/api-reference/chat (frequency and presence penalties)
        """
        used, often = self._used.tokens.to(logits.device), self._used.counts.to(logits.device)
        logits[used] -= self._frequency * often + self._presence
