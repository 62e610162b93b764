"""A LoRA adapter out of a fine-tuned model: what its linears gained on the base, in few ranks.

Of a matrix's change the best of some rank are its first singular vectors (Eckart and Young 1936),
found here by randomised power iterations (Halko et al. 2011, https://arxiv.org/abs/0909.4061).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from registry.files import AdapterFiles
from specialists.base import Base
from specialists.errors import NoAdapter
from specialists.progress import Progress, silent
from specialists.weights import Weights

_LINEAR = re.compile(r"model\.layers\.\d+\.\w+\.(\w+_proj)\.weight")
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

    linear: str
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
    _save(pairs, rank, base.name, to)
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
        change = after[name].float() - before[name].float()
        if change.any():
            a, b = _factors(change, rank)
            dtype = after[name].dtype
            squares = (float(each.square().sum()) for each in (change, b @ a))
            yield _Pair(name, a.to(dtype), b.to(dtype), *squares)
    progress("Comparing linears", len(linears), len(linears))


def _factors(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A [rank, inputs] and B [outputs, rank], whose product comes nearest to a change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sought = min(rank + SPARE, *change.shape)
        left, strengths, right = torch.svd_lowrank(change, sought, niter=ITERATIONS)
    roots = strengths[:rank].sqrt()
    return (right[:, :rank] * roots).T.contiguous(), (left[:, :rank] * roots).contiguous()


def _changed(before: Weights, after: Weights, linears: set[str]) -> Iterator[str]:
    """Names of tensors that were changed, or are new, beside the linears."""
    for name in sorted(set(after) - linears):
        if name.endswith(_COMPUTED):
            continue
        former = _EMBEDDING if name == _HEAD and name not in before else name
        if former not in before or not torch.equal(after[name].float(), before[former].float()):
            yield name


def _save(pairs: Sequence[_Pair], rank: int, base: str, to: Path) -> None:
    files = AdapterFiles.in_folder(to)
    to.mkdir(parents=True, exist_ok=True)
    modules = {pair.linear.removesuffix(".weight"): pair for pair in pairs}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(modules),
    }
    files.config.write_text(json.dumps(config, indent=2))
    factors = {
        f"base_model.model.{module}.lora_{side}.weight": factor
        for module, pair in modules.items()
        for side, factor in (("A", pair.a), ("B", pair.b))
    }
    save_file(factors, files.weights)
