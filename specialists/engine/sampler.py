"""Choosing the next token of every row at once."""

from collections.abc import Sequence as List

import torch

from specialists.engine.core import Choice, Logprob, Sequence


def sample(logits: torch.Tensor, rows: List[Sequence]) -> list[Choice]:
    """Choose a token per row from logits [rows, vocabulary], as each row's parameters say.

    A row's choice depends on its own logits and random numbers only, never on its neighbours.
    """
    tokens = logits.argmax(dim=-1)
    drawn = [at for at, row in enumerate(rows) if row.params.temperature > 0]
    if drawn:
        tokens[drawn] = _draw(logits[drawn], [rows[at] for at in drawn])
    chosen: list[int] = tokens.tolist()
    return [
        _choice(token, row_logits, row.params.logprobs)
        for token, row_logits, row in zip(chosen, logits, rows, strict=True)
    ]


def _draw(logits: torch.Tensor, rows: List[Sequence]) -> torch.Tensor:
    """Nucleus sampling (Holtzman et al. 2019) by inverting the cumulative distribution."""
    device = logits.device
    temperature = torch.tensor([row.params.temperature for row in rows], device=device)
    top_p = torch.tensor([row.params.top_p for row in rows], device=device)
    # Below this the division overflows; the result is greedy long before.
    scaled = logits / temperature.clamp_min(1e-5)[:, None]
    probabilities, order = scaled.softmax(dim=-1).sort(dim=-1, descending=True)
    cumulative = probabilities.cumsum(dim=-1)
    # The token that crosses top_p is the last one kept.
    kept = (cumulative - probabilities < top_p[:, None]).sum(dim=-1, keepdim=True)
    mass = cumulative.gather(1, kept - 1)
    points = torch.tensor([[row.random.random()] for row in rows], device=device) * mass
    at = torch.searchsorted(cumulative, points.to(cumulative.dtype)).minimum(kept - 1)
    return order.gather(1, at).squeeze(1)


def _choice(token: int, logits: torch.Tensor, wanted: int | None) -> Choice:
    if wanted is None:
        return Choice(token)
    logprobs = logits.log_softmax(dim=-1)
    top = logprobs.topk(wanted)
    ranked = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return Choice(token, float(logprobs[token]), tuple(Logprob(*pair) for pair in ranked))
