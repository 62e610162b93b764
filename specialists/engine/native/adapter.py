"""Adapters as the kernels read them: of 8 bits, in one piece of memory (see lora.h)."""

import ctypes
from collections.abc import Iterable
from ctypes import POINTER, cast
from dataclasses import dataclass
from typing import Any

import torch

from specialists.engine.lora import GROUPS, AdapterWeights, GroupLora
from specialists.engine.native import library
from specialists.engine.native.packing import LANES

MOST = 127
"""The largest number that a weight of 8 bits takes, either way."""


@dataclass(frozen=True, slots=True)
class NativeAdapter:
    """An adapter's matrices, and the structure that points into them.

    Attributes:
        matrices: all of them, int8.
        scales: float32, one for each rank of each group: what A's and B's numbers are multiples of,
            multiplied.
        pointers: for the kernels.
        held: what the pointers need to stay alive.
    """

    matrices: torch.Tensor
    scales: torch.Tensor
    pointers: library.Adapter
    held: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices and scales."""
        return self.matrices.nbytes + self.scales.nbytes

    @classmethod
    def of(cls, weights: AdapterWeights) -> "NativeAdapter":
        """Take over an adapter's matrices."""
        groups = [layer.get(name) for layer in weights.layers for name in GROUPS]
        quantised = [_quantised(group) for group in groups if group is not None]
        matrices = torch.cat([part.flatten() for parts, _ in quantised for part in parts])
        scales = torch.cat([scale for _, scale in quantised])
        loras = (library.Lora * len(groups))()
        held: list[Any] = [loras]
        at, scale_at = matrices.data_ptr(), scales.data_ptr()
        for lora, group in zip(loras, groups, strict=True):
            if group is not None:
                lora.scales = scale_at
                at = _point(lora, group, at, held)
                scale_at += lora.ranks * scales.itemsize
        pointers = library.Adapter(cast(loras, POINTER(library.Lora)))
        return cls(matrices, scales, pointers, tuple(held))


def rounded(by_rank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest multiples of one scale for each rank: int8 like `by_rank` [ranks, n], [ranks]."""
    scale = by_rank.abs().amax(dim=1) / MOST
    steps = scale.where(scale > 0, torch.ones_like(scale))
    return (by_rank / steps[:, None]).round().to(torch.int8), scale


def _quantised(group: GroupLora) -> tuple[Iterable[torch.Tensor], torch.Tensor]:
    """A as [ranks, ins], then each B as [outs / 8, ranks, 8]; and the scales, [ranks]."""
    a, shrink_scale = rounded(group.shrink.t())
    expands = [rounded(part.matrix) for part in group.expands]
    striped = (b.reshape(len(b), -1, LANES).transpose(0, 1) for b, _ in expands)
    return (a, *striped), shrink_scale * torch.cat([scale for _, scale in expands])


def _point(lora: library.Lora, group: GroupLora, at: int, held: list[Any]) -> int:
    """Fill in where a group's matrices lie, from address `at` on; returns where they end."""
    expands = (library.Expand * len(group.expands))()
    held.append(expands)
    lora.ranks, lora.parts = group.shrink.shape[1], len(expands)
    lora.a, lora.expands = at, cast(expands, POINTER(library.Expand))
    at += group.shrink.numel()
    for expand, part in zip(expands, group.expands, strict=True):
        expand.rank, expand.ranks = part.ranks.start, part.ranks.stop - part.ranks.start
        expand.out, expand.outs = part.outputs.start, part.outputs.stop - part.outputs.start
        expand.b = at
        at += part.matrix.numel()
    return at


def pointer(adapter: NativeAdapter) -> Any:
    """For a segment."""
    return ctypes.pointer(adapter.pointers)
