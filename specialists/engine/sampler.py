"""Choosing the next token of every row at once.

A vocabulary is long and its rows are many, so that each pass over all logits costs more than the
choice itself: nothing is sorted whole, and sums and maxima are taken over blocks first.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from specialists.engine.core import Choice, Logprob, Row, SamplingParams
from specialists.engine.shaping import shaped

BLOCK = 64
"""Tokens that are summed, or compared, before anything finer is looked at."""
NUCLEUS_STEPS = (64, 1024)
"""Likeliest tokens in which a nucleus is looked for before a row is sorted whole."""


def sample(logits: torch.Tensor, rows: Sequence[Row]) -> list[Choice]:
    """Choose a token per row from float32 logits [rows, vocabulary], as each row's parameters say.

    A row's choice depends on its own logits and random numbers only, never on its neighbours.
    """
    plain, logits = logits, shaped(logits, rows)
    tokens = _likeliest(logits)
    drawn = [at for at, row in enumerate(rows) if row.params.temperature > 0]
    for places, draw in (
        ([at for at in drawn if rows[at].params.top_p >= 1], _draw),
        ([at for at in drawn if rows[at].params.top_p < 1], _draw_nucleus),
    ):
        if places:
            tokens[places] = draw(_of(logits, places), [rows[at] for at in places])
    return _choices(tokens, plain, rows)


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest of each row, [rows]; on CPUs torch takes ten times as long."""
    if logits.device.type == "cpu":
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


def _draw(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Draw from the softmax by inverting its cumulative distribution, block by block."""
    weights = F.pad(_weights(logits, rows), (0, -logits.shape[1] % BLOCK))
    weights = weights.view(len(weights), -1, BLOCK)
    sums = weights.sum(dim=-1, dtype=torch.float32).double().cumsum(dim=-1)
    point = _points(rows, logits.device) * sums[:, -1:]
    block = torch.searchsorted(sums, point, right=True).clamp_max(sums.shape[1] - 1)
    below = F.pad(sums, (1, 0)).gather(1, block)
    inside = weights.gather(1, block[..., None].expand(-1, -1, BLOCK)).squeeze(1)
    at = _invert(inside, point - below)
    return (block * BLOCK + at).squeeze(1)


def _draw_nucleus(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Nucleus sampling (Holtzman et al. 2019): the fewest tokens whose mass reaches `top_p`."""
    weights = _weights(logits, rows)
    wanted = torch.tensor([[row.params.top_p] for row in rows], device=logits.device)
    total = weights.sum(dim=-1, keepdim=True)
    points = _points(rows, logits.device)
    chosen = torch.empty(len(rows), 1, dtype=torch.long, device=logits.device)
    left = torch.arange(len(rows), device=logits.device)
    for count in NUCLEUS_STEPS:
        top, tokens = _largest(_of(weights, left.tolist()), min(count, logits.shape[1]))
        mass = (total * wanted)[left]
        found = top.sum(dim=-1) >= mass[:, 0]
        settled = left[found]
        chosen[settled] = _pick(top[found], tokens[found], mass[found], points[settled])
        left = left[~found]
    for at in left.tolist():
        # What is smaller adds up to less than may be left out.
        least = total[at] * (1 - wanted[at]) / logits.shape[1]
        tokens = (weights[at] >= least).nonzero().T
        top, order = weights[at][tokens].sort(descending=True)
        mass = (total * wanted)[at, None]
        chosen[at] = _pick(top, tokens.gather(1, order), mass, points[at, None])[0]
    return chosen.squeeze(1)


def _pick(
    top: torch.Tensor, tokens: torch.Tensor, mass: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """Draw from the first of some weights, largest first, that reach a mass: tokens [rows, 1]."""
    # The token that crosses the mass is the last one kept.
    outside = top.cumsum(dim=-1) - top >= mass
    outside[:, 0] = False
    kept = top.masked_fill(outside, 0)
    point = points * kept.sum(dim=-1, keepdim=True, dtype=torch.float64)
    return tokens.gather(1, _invert(kept, point))


def _weights(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """The softmax before its division, 1 for the likeliest token, 0 for what is left out."""
    temperature = torch.tensor([[row.params.temperature] for row in rows], device=logits.device)
    scaled = logits - logits.amax(dim=-1, keepdim=True)
    # Below this the division overflows; the result is greedy long before.
    weights = scaled.div_(temperature.clamp_min(1e-5)).exp_()
    for at, row in enumerate(rows):
        if row.params.truncates:
            _truncate(weights[at : at + 1], row.params)
    return weights


def _truncate(weights: torch.Tensor, params: SamplingParams) -> None:
    """Take out what is less likely than the k-th, or than a share of the likeliest, whose is 1."""
    least = params.min_p
    if 0 < params.top_k < weights.shape[1]:
        values, _ = _largest(weights, params.top_k)
        least = max(least, float(values[0, -1]))
    weights.masked_fill_(weights < least, 0)


def _points(rows: Sequence[Row], device: torch.device) -> torch.Tensor:
    """A number in [0, 1) per row, from its own source: float64 [rows, 1]."""
    points = [[row.random.random()] for row in rows]
    return torch.tensor(points, dtype=torch.float64, device=device)


def _invert(weights: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Where the running sum of [rows, n] weights passes a point: [rows, 1]."""
    sums = weights.double().cumsum(dim=-1)
    at = torch.searchsorted(sums, point, right=True)
    # A point that rounding put beyond the sum belongs to the last weight that is not zero.
    last = (weights > 0).long().mul(torch.arange(1, weights.shape[1] + 1, device=weights.device))
    return torch.minimum(at, last.amax(dim=-1, keepdim=True) - 1)


def _largest(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each row, largest first, and where they are: [rows, count] each.

    They lie in at most `count` blocks, which are those with the largest maxima.
    """
    blocks = values.shape[1] // BLOCK
    if values.shape[1] % BLOCK or count >= blocks // 2:
        top = values.topk(count)
        return top.values, top.indices
    blocked = values.view(len(values), blocks, BLOCK)
    which = blocked.amax(dim=-1).topk(count).indices
    near = blocked.gather(1, which[..., None].expand(-1, -1, BLOCK)).flatten(1)
    top = near.topk(count)
    return top.values, which.gather(1, top.indices // BLOCK) * BLOCK + top.indices % BLOCK


def _choices(tokens: torch.Tensor, logits: torch.Tensor, rows: Sequence[Row]) -> list[Choice]:
    chosen: list[int] = tokens.tolist()
    choices = [Choice(token) for token in chosen]
    asked = [at for at, row in enumerate(rows) if row.params.logprobs is not None]
    if not asked:
        return choices
    wanted = [rows[at].params.logprobs or 0 for at in asked]
    own, values, places = _logprobs(_of(logits, asked), tokens[asked], max(wanted))
    for at, count, logprob, likely, where in zip(asked, wanted, own, values, places, strict=True):
        top = zip(where[:count], likely[:count], strict=True)
        choices[at] = Choice(chosen[at], logprob, tuple(Logprob(*pair) for pair in top))
    return choices


def _logprobs(
    logits: torch.Tensor, tokens: torch.Tensor, count: int
) -> tuple[list[float], list[list[float]], list[list[int]]]:
    """Log probabilities of the chosen tokens, and of the `count` likeliest with their ids."""
    highest = logits.amax(dim=-1, keepdim=True)
    total = highest + (logits - highest).exp_().sum(dim=-1, keepdim=True).log()
    own = logits.gather(1, tokens[:, None]) - total
    values, places = _largest(logits, count)
    return own.squeeze(1).tolist(), (values - total).tolist(), places.tolist()


def _of(values: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Some of the rows; all of them are not copied."""
    return values if len(places) == len(values) else values[places]
