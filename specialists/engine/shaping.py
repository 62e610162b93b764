"""What changes a row's logits before a token is drawn: penalties, biases, its grammar."""

from collections import Counter
from collections.abc import Sequence

import torch

from specialists.engine.core import Row


def shaped(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Logits, float32 [rows, vocabulary], as each row's parameters change them.

    Rows that ask for nothing keep theirs. The argument keeps its own where a row wants to be told
    of them.
    """
    asked = [at for at, row in enumerate(rows) if row.params.shapes or row.grammar]
    if not asked:
        return logits
    if logits.is_inference() or any(row.params.logprobs is not None for row in rows):
        logits = logits.clone()
    for at in asked:
        _penalise_repetition(logits[at], rows[at])
        _penalise_use(logits[at], rows[at])
    _add_biases(logits, rows)
    for at in asked:
        _hold_to_grammar(logits[at], rows[at])
    return logits


def _penalise_repetition(logits: torch.Tensor, row: Row) -> None:
    """Divide what was seen in prompt or answer by the penalty (CTRL, Keskar et al. 2019)."""
    penalty = row.params.repetition_penalty
    if penalty != 1:
        seen = torch.tensor(sorted(set(row.tokens)), device=logits.device)
        before = logits[seen]
        logits[seen] = torch.where(before > 0, before / penalty, before * penalty)


def _penalise_use(logits: torch.Tensor, row: Row) -> None:
    """Take something off for each time a token stands in the answer, and once if it does at all.

    https://platform.openai.com/docs/api-reference/chat (frequency and presence penalties)
    """
    params, answer = row.params, row.tokens[row.prompt_length :]
    if answer and (params.frequency_penalty or params.presence_penalty):
        tokens, counts = zip(*Counter(answer).items(), strict=True)
        used = torch.tensor(tokens, device=logits.device)
        often = torch.tensor(counts, device=logits.device)
        logits[used] -= params.frequency_penalty * often + params.presence_penalty


def _add_biases(logits: torch.Tensor, rows: Sequence[Row]) -> None:
    biases = [(at, *each) for at, row in enumerate(rows) for each in row.params.logit_bias]
    if biases:
        places, tokens, values = zip(*biases, strict=True)
        where = torch.tensor((places, tokens), device=logits.device)
        logits[where[0], where[1]] += torch.tensor(values, device=logits.device)


def _hold_to_grammar(logits: torch.Tensor, row: Row) -> None:
    if row.grammar is not None:
        barred = torch.from_numpy(~row.grammar.allowed())
        logits.masked_fill_(barred.to(logits.device), -torch.inf)
