"""Adapters as the kernels read them: binary16, in one piece of memory (see lora.h)."""

import ctypes
from ctypes import POINTER, cast
from dataclasses import dataclass
from typing import Any

import torch

from specialists.engine.lora import GROUPS, AdapterWeights, GroupLora
from specialists.engine.native import library
from specialists.engine.native.packing import LANES


@dataclass(frozen=True, slots=True)
class NativeAdapter:
    """An adapter's matrices, and the structure that points into them.

    Attributes:
        matrices: all of them, float16.
        pointers: for the kernels.
        held: what the pointers need to stay alive.
    """

    matrices: torch.Tensor
    pointers: library.Adapter
    held: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices."""
        return self.matrices.nbytes

    @classmethod
    def of(cls, weights: AdapterWeights) -> "NativeAdapter":
        """Take over an adapter's matrices."""
        groups = [layer.get(name) for layer in weights.layers for name in GROUPS]
        arranged = [_arranged(group) for group in groups if group is not None]
        matrices = torch.cat([part.flatten().half() for parts in arranged for part in parts])
        loras = (library.Lora * len(groups))()
        held: list[Any] = [loras]
        at = matrices.data_ptr()
        for lora, group in zip(loras, groups, strict=True):
            if group is not None:
                at = _point(lora, group, at, held)
        return cls(matrices, library.Adapter(cast(loras, POINTER(library.Lora))), tuple(held))


def _arranged(group: GroupLora) -> list[torch.Tensor]:
    """A as [ranks, ins], then each B as [outs / 8, ranks, 8]."""
    expands = [
        part.matrix.reshape(len(part.matrix), -1, LANES).transpose(0, 1) for part in group.expands
    ]
    return [group.shrink.t(), *expands]


def _point(lora: library.Lora, group: GroupLora, at: int, held: list[Any]) -> int:
    """Fill in where a group's matrices lie, from address `at` on; returns where they end."""
    expands = (library.Expand * len(group.expands))()
    held.append(expands)
    lora.ranks, lora.parts = group.shrink.shape[1], len(expands)
    lora.a, lora.expands = at, cast(expands, POINTER(library.Expand))
    at += group.shrink.numel() * torch.float16.itemsize
    for expand, part in zip(expands, group.expands, strict=True):
        expand.rank, expand.ranks = part.ranks.start, part.ranks.stop - part.ranks.start
        expand.out, expand.outs = part.outputs.start, part.outputs.stop - part.outputs.start
        expand.b = at
        at += part.matrix.numel() * torch.float16.itemsize
    return at


def pointer(adapter: NativeAdapter) -> Any:
    """For a segment."""
    return ctypes.pointer(adapter.pointers)
