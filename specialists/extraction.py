"""A LoRA adapter out of a fine-tuned model: what its linears gained on the base, in few ranks.

Of a matrix's change the best of some rank are its first singular vectors (Eckart and Young 1936),
found here by randomised power iterations (Halko et al. 2011, https://arxiv.org/abs/0909.4061).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from specialists.base import Base
from specialists.errors import NoAdapter
from specialists.plain_lora import Factor, write
from specialists.progress import Progress, silent
from specialists.weights import Weights

_LINEAR = re.compile(r"model\.layers\.\d+\.\w+\.\w+_proj\.weight")
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_COMPUTED = "inv_freq"
"""Ends names of tensors that older releases of transformers have saved, and follow from config."""
SPARE = 16
"""Directions that are looked for beyond those that are kept: they make these exact."""
ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an adapter has of a fine-tuned model.

    Attributes:
        rank: of each of its pairs.
        linears: how many of the base's were changed.
        kept: share of their change that the adapter has, of the sum of its squares, 0 to 1.
        left_out: other tensors that were changed, which no LoRA of linears carries.
    """

    rank: int
    linears: int
    kept: float
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Of one linear: LoRA's factors, and the sums of squares of its change and of their product."""

    module: str
    a: torch.Tensor
    b: torch.Tensor
    change: float
    kept: float


def extract(base: Base, tuned: Path, to: Path, rank: int, progress: Progress = silent) -> Extracted:
    """Write the adapter that makes of a base what a fine-tuned model is, as far as it can.

    Args:
        base: what the model was tuned from.
        tuned: its folder, in transformers' layout.
        to: the adapter's folder.
        rank: of each pair, at most; no linear's smaller side is exceeded.
        progress: told of linears.

    Raises:
        NoAdapter: its weights cannot be read, are of another shape, or are the base's own.
    """
    before, after = Weights(base.folder), Weights(tuned)
    try:
        if not after:
            raise NoAdapter(f"{tuned} holds no *.safetensors, as transformers saves models")
        linears = [name for name in before if _LINEAR.fullmatch(name)]
        rank = min([rank, *(min(before[name].shape) for name in linears)])
        pairs = list(_pairs(before, after, linears, rank, progress))
        left_out = tuple(_changed(before, after, set(linears)))
    except (SafetensorError, OSError) as error:
        raise NoAdapter(f"the weights in {tuned} cannot be read: {error}") from error
    if not pairs:
        raise NoAdapter(f"the linears in {tuned} are the base's own: there is nothing to extract")
    factors = {
        Factor(pair.module, side): values
        for pair in pairs
        for side, values in (("A", pair.a), ("B", pair.b))
    }
    write(to, factors, base=base.name, rank=rank, alpha=rank)
    kept = sum(pair.kept for pair in pairs) / sum(pair.change for pair in pairs)
    return Extracted(rank, len(pairs), min(kept, 1.0), left_out)


def _pairs(
    before: Weights, after: Weights, linears: Sequence[str], rank: int, progress: Progress
) -> Iterator[_Pair]:
    """Factors for each linear that was changed."""
    for done, name in enumerate(linears):
        progress("Comparing linears", done, len(linears))
        if name not in after or after[name].shape != before[name].shape:
            raise NoAdapter(f"{name} is missing there, or of another shape: it is of another base")
        tuned = after[name]
        change = tuned.float() - before[name].float()
        if change.any():
            a, b = _factors(change, rank)
            squares = (float(each.square().sum()) for each in (change, b @ a))
            module = name.removesuffix(".weight")
            yield _Pair(module, a.to(tuned.dtype), b.to(tuned.dtype), *squares)
    progress("Comparing linears", len(linears), len(linears))


def _factors(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A [rank, inputs] and B [outputs, rank], whose product comes nearest to a change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sought = min(rank + SPARE, *change.shape)
        left, strengths, right = torch.svd_lowrank(change, sought, niter=ITERATIONS)
    roots = strengths[:rank].sqrt()
    return (right[:, :rank] * roots).T, left[:, :rank] * roots


def _changed(before: Weights, after: Weights, linears: set[str]) -> Iterator[str]:
    """Names of tensors that were changed, or are new, beside the linears."""
    for name in sorted(set(after) - linears):
        if name.endswith(_COMPUTED):
            continue
        former = _EMBEDDING if name == _HEAD and name not in before else name
        if former not in before or not torch.equal(after[name].float(), before[former].float()):
            yield name
