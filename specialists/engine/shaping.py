"""What changes a row's logits before a token is drawn: penalties, biases, its form, its length.

And what it may think, at most.
"""

from collections.abc import Sequence

import torch

from specialists.engine.core import Row
from specialists.engine.shape import Shape


def shaped(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Logits, float32 [rows, vocabulary], as each row's parameters change them.

    Rows that ask for nothing keep theirs. The argument keeps its own where a row wants to be told
    of them.
    """
    asked = [at for at, row in enumerate(rows) if _is_asked(row)]
    if not asked:
        return logits
    if logits.is_inference() or any(row.params.logprobs is not None for row in rows):
        logits = logits.clone()
    for at in asked:
        if rows[at].params.shapes:
            _shape(rows[at]).apply(logits[at], rows[at].tokens)
        _hold_to_grammar(logits[at], rows[at])
        _hold_open(logits[at], rows[at])
        _close_thoughts(logits[at], rows[at])
    return logits


def _is_asked(row: Row) -> bool:
    return (
        row.params.shapes or row.grammar is not None or row.is_too_short or _forced(row) is not None
    )


def _shape(row: Row) -> Shape:
    """What a row's parameters do, which counts its tokens from the first time on."""
    params = row.params
    row.shape = row.shape or Shape(
        row.prompt_length,
        repetition=params.repetition_penalty,
        frequency=params.frequency_penalty,
        presence=params.presence_penalty,
        biases=params.logit_bias,
    )
    return row.shape


def _hold_to_grammar(logits: torch.Tensor, row: Row) -> None:
    if row.grammar is not None:
        barred = torch.from_numpy(~row.grammar.allowed())
        logits.masked_fill_(barred.to(logits.device), -torch.inf)


def _hold_open(logits: torch.Tensor, row: Row) -> None:
    """Bar what would end an answer that is too short, unless its grammar leaves nothing else."""
    if not row.is_too_short or not row.ends:
        return
    ends = torch.tensor(sorted(row.ends), device=logits.device)
    before = logits[ends]
    logits[ends] = -torch.inf
    if row.grammar is not None and logits.max() == -torch.inf:
        logits[ends] = before


def _close_thoughts(logits: torch.Tensor, row: Row) -> None:
    """Leave only what closes thoughts that have become too long."""
    token = _forced(row)
    if token is not None:
        logits.fill_(-torch.inf)
        logits[token] = 0.0


def _forced(row: Row) -> int | None:
    return None if row.budget is None else row.budget.forced
