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
"""Likeliest tokens in which a nucleus is looked for before all of a row is looked at."""
NEAR = 8
"""Rows of logits that are gone over again and again while they are in the cache."""
FEW = 256
"""Likeliest tokens up to which all of them are looked for to find the last."""
COARSE_BITS, CLASSES = 18, 1 << 13
"""Of a weight's 32 bits those that its class leaves out: of positive floats larger ones have larger
bits, so that all of a class are larger than all of the next, and differ by a thirty-second."""


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
            tokens[places] = draw(rows_of(logits, places), [rows[at] for at in places])
    return _choices(tokens, plain, rows)


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest of each row, [rows]; on CPUs torch takes ten times as long."""
    if logits.device.type == "cpu":
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


def _draw(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Draw from the softmax."""
    return _inverted(_weights(logits, rows), _points(rows, logits.device)).squeeze(1)


def _inverted(weights: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Where the sum of weights [rows, tokens] passes points of it, block by block: [rows, 1]."""
    weights = F.pad(weights, (0, -weights.shape[1] % BLOCK))
    weights = weights.view(len(weights), -1, BLOCK)
    sums = weights.sum(dim=-1, dtype=torch.float32).double().cumsum(dim=-1)
    point = points * sums[:, -1:]
    block = torch.searchsorted(sums, point, right=True).clamp_max(sums.shape[1] - 1)
    below = F.pad(sums, (1, 0)).gather(1, block)
    inside = weights.gather(1, block[..., None].expand(-1, -1, BLOCK)).squeeze(1)
    return block * BLOCK + _invert(inside, point - below)


def _draw_nucleus(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Nucleus sampling (Holtzman et al. 2019): the fewest tokens whose mass reaches `top_p`."""
    weights = _weights(logits, rows)
    wanted = torch.tensor([[row.params.top_p] for row in rows], device=logits.device)
    total = weights.sum(dim=-1, keepdim=True)
    points = _points(rows, logits.device)
    chosen = torch.empty(len(rows), 1, dtype=torch.long, device=logits.device)
    left = torch.arange(len(rows), device=logits.device)
    for count in NUCLEUS_STEPS:
        top, tokens = _largest(rows_of(weights, left.tolist()), min(count, logits.shape[1]))
        mass = (total * wanted)[left]
        found = top.sum(dim=-1) >= mass[:, 0]
        settled = left[found]
        chosen[settled] = _pick(top[found], tokens[found], mass[found], points[settled])
        left = left[~found]
    for at in left.tolist():
        kept = _wide_nucleus(weights[at], (total * wanted)[at])
        chosen[at] = _inverted(kept[None], points[at, None])
    return chosen.squeeze(1)


def _wide_nucleus(weights: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """Weights, [vocabulary], without those that are left out once larger ones reach a mass.

    Only those are sorted that are about as large as the last one kept.
    """
    classes = weights.view(torch.int32) >> COARSE_BITS
    masses = classes.bincount(weights.double(), minlength=CLASSES).flip(0).cumsum(0)
    larger = torch.searchsorted(masses, mass.double()).clamp_max(CLASSES - 1)
    before, last = F.pad(masses, (1, 0))[larger], CLASSES - 1 - larger
    edge = (classes == last).nonzero().squeeze(1)
    top, order = weights[edge].double().sort(descending=True, stable=True)
    # The token that crosses the mass is the last one kept.
    outside = edge[order[before + top.cumsum(0) - top >= mass]]
    kept = weights.masked_fill(classes < last, 0)
    kept[outside] = 0
    return kept


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
    if any(row.params.truncates for row in rows):
        least = _least(weights, [row.params for row in rows])
        weights.masked_fill_(weights < least, 0)
    return weights


def _least(weights: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """The k-th weight of each row, or a share of the likeliest's, which is 1: [rows, 1]."""
    least = torch.tensor([[each.min_p] for each in params], device=weights.device)
    size = weights.shape[1]
    places = [at for at, each in enumerate(params) if 0 < each.top_k < size]
    few = [at for at in places if params[at].top_k <= FEW]
    if few:
        values, _ = _largest(rows_of(weights, few), max(params[at].top_k for at in few))
        last = [[params[at].top_k - 1] for at in few]
        kth = values.gather(1, torch.tensor(last, device=weights.device))
        least[few] = torch.maximum(least[few], kth)
    for at in [at for at in places if params[at].top_k > FEW]:
        kth = weights[at].kthvalue(size + 1 - params[at].top_k).values
        least[at] = torch.maximum(least[at], kth)
    return least


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
    own, values, places = _logprobs(rows_of(logits, asked), tokens[asked], max(wanted))
    for at, count, logprob, likely, where in zip(asked, wanted, own, values, places, strict=True):
        top = zip(where[:count], likely[:count], strict=True)
        choices[at] = Choice(chosen[at], logprob, tuple(Logprob(*pair) for pair in top))
    return choices


def scored(logits: torch.Tensor, tokens: Sequence[int], count: int) -> list[Choice]:
    """How likely tokens are by logits [tokens, vocabulary], with the `count` likeliest beside."""
    choices: list[Choice] = []
    for begin in range(0, len(tokens), NEAR):
        some = tokens[begin : begin + NEAR]
        given = torch.tensor(some, device=logits.device)
        own, values, places = _logprobs(logits[begin : begin + NEAR], given, count)
        choices += [
            Choice(token, logprob, tuple(map(Logprob, where, likely)))
            for token, logprob, likely, where in zip(some, own, values, places, strict=True)
        ]
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


def rows_of(values: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Those of the rows that are at these places; such as follow each other are not copied."""
    first = places[0] if places else 0
    follow = range(first, first + len(places))
    return values[first : follow.stop] if places == [*follow] else values[places]
