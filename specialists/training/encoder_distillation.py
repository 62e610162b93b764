"""A small encoder learns from a large one which texts are alike, as an adapter of its weights.

Both read the same texts. Of every text in a batch the small one learns how near the others are to
it by the large one: the divergence of two softmaxes over the batch (Passalis and Tefas 2018,
https://arxiv.org/abs/1803.10837), and the square of what their cosines differ by. What the vectors
themselves are is left open, since the two have other dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, normalize, softmax
from torch.optim.lr_scheduler import OneCycleLR

from specialists.hardware import computes_bfloat16

LINEARS = r"(encoder|transformer)\..*\.(query|key|value|dense|q|k|v|o|(q|k|v|out)_lin|lin1|lin2)"
"""As BERT and RoBERTa, MPNet, and DistilBERT call them; not those after the hidden states."""
RANK = 32
RATE, WARMING, MOST = 1e-3, 0.1, 1.0
"""Of the steps: the largest, the share of them until it is reached, and the longest gradient."""
BATCH, GROUP, NEAREST = 256, 8, 24
"""Texts of a batch; of these how many at a time are near each other, among so many nearest ones:
texts that have nothing in common teach little."""
PIECE = 32
"""Texts that are read at once: of like length, so that little is padding."""
TEMPERATURE = 0.1
SQUARES = 10.0
"""What the squares count for beside the divergence."""
LOOKED_AT = 2048

Told = Callable[[int, int, float], None]
"""Is told the step, how many there are, and the loss."""


def distil(
    model: Any,
    rows: Sequence[Sequence[int]],
    teacher: NDArray[np.float32],
    *,
    epochs: float,
    begun: Path | None = None,
    seed: int = 0,
    told: Told = lambda *_: None,
) -> PeftModel:
    """Train an adapter of a small encoder; `model` itself is wrapped.

    Args:
        model: the small encoder, as transformers has it.
        rows: the texts' tokens, each at least one.
        teacher: their unit vectors by the large one, float32 [texts, dimensions].
        epochs: how often each text is read, about.
        begun: folder of an adapter that is trained on; None begins a new one.
        seed: of a new adapter's beginning and of the order.
        told: is told how it goes.
    """
    torch.manual_seed(seed)
    adapted = _adapted(model, begun)
    adapted.eval()  # Dropout would only blur which texts are near.
    wanted = _centred(torch.from_numpy(teacher), torch.from_numpy(teacher).mean(0))
    with torch.no_grad():
        centre = _means(adapted, rows[:LOOKED_AT]).mean(0)
    size = min(BATCH, len(rows))
    steps = max(1, int(epochs * len(rows) / size))
    descend = _descent(adapted, steps)
    batches = _batches(_nearest(wanted), size, seed)
    for step, batch in enumerate(islice(batches, steps), start=1):
        batch.sort(key=lambda at: len(rows[at]))
        found = _centred(_means(adapted, [rows[at] for at in batch]), centre)
        loss = _loss(found @ found.T, wanted[batch] @ wanted[batch].T)
        descend(loss)
        told(step, steps, loss.item())
    return adapted


def _adapted(model: Any, begun: Path | None) -> PeftModel:
    """The encoder with an adapter that has learnt nothing, or with what one has learnt before."""
    if begun is not None:
        return PeftModel.from_pretrained(model, begun, is_trainable=True)
    return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LINEARS))


def _descent(adapted: PeftModel, steps: int) -> Callable[[Tensor], None]:
    """What takes one of so many steps down a loss."""
    learnt = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=RATE)
    schedule = OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=WARMING)

    def descend(loss: Tensor) -> None:
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(learnt, MOST)
        optimiser.step()
        schedule.step()

    return descend


def _nearest(wanted: Tensor) -> Tensor:
    """Of each text the nearest ones, itself among them, [texts, at most NEAREST]."""
    most = min(NEAREST, len(wanted))
    with fast_products():
        parts = [(some @ wanted.T).topk(most).indices for some in torch.split(wanted, LOOKED_AT)]
    return torch.cat(parts)


def _batches(nearest: Tensor, size: int, seed: int) -> Iterator[list[int]]:
    """For ever: groups of near texts, no text twice in a batch."""
    draw = Random(seed)  # noqa: S311 (no secret is made)
    while True:
        batch: dict[int, None] = {}
        while len(batch) < size:
            at = draw.randrange(len(nearest))
            near = nearest[at].tolist()
            batch |= dict.fromkeys([at, *draw.sample(near, min(GROUP - 1, len(near)))])
        yield list(batch)[:size]


def _means(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """Unit vectors, [rows, dimensions]: means of the last hidden states."""
    found = [_read(model, rows[at : at + PIECE]) for at in range(0, len(rows), PIECE)]
    return torch.cat(found)


def _read(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with fast_products():
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    weights = mask[..., None]
    return normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def fast_products() -> torch.autocast:
    """Products in bfloat16, where the processor has instructions for them."""
    fast = computes_bfloat16(torch.device("cpu"))
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def _centred(vectors: Tensor, centre: Tensor) -> Tensor:
    """What sets texts apart: unit vectors without what they all share."""
    return normalize(vectors - centre, dim=-1)


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far cosines within a batch, [batch, batch], are from those that are wanted."""
    itself = torch.eye(len(found), dtype=torch.bool)
    ours, theirs = (
        (cosines / TEMPERATURE).masked_fill(itself, -torch.inf) for cosines in (found, wanted)
    )
    apart = kl_div(
        log_softmax(ours, -1).masked_fill(itself, 0),
        softmax(theirs, -1),
        reduction="batchmean",
    )
    return apart + SQUARES * (found - wanted).square().mean()
