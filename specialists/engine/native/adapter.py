"""Adapters as the kernels read them: of 8 bits, in one piece of memory (see lora.h)."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, cast
from dataclasses import dataclass
from typing import Any

import torch

from specialists.engine.lora import GROUPS, Layers, Pair, Shape, Widths, placed
from specialists.engine.native import library

TYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Of numbers that are saved, in the order of pack.cpp."""
SCALE_BYTES = torch.float32.itemsize
QUAD = 4
"""Ranks that the kernels expand at once."""


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
    def of(cls, layers: Layers, widths: Widths, kernels: ctypes.CDLL) -> "NativeAdapter":
        """Pack an adapter's pairs, for a base of these outputs of its modules."""
        pairs = [pair for layer in layers for pair in layer.values()]
        shapes = [pair.shape for pair in pairs]
        matrices = torch.empty(sum(map(_matrices, shapes)), dtype=torch.int8)
        scales = torch.empty(sum(shape.ranks for shape in shapes))
        loras = (library.Lora * (len(layers) * len(GROUPS)))()
        packing = _Packing(matrices.data_ptr(), scales.data_ptr())
        groups = ((layer, modules) for layer in layers for modules in GROUPS.values())
        for lora, (layer, modules) in zip(loras, groups, strict=True):
            packing.add(lora, list(placed(layer, modules, widths)))
        # Not held by Python's lock: steps go on meanwhile.
        kernels.myriad_pack((library.Pair * len(pairs))(*packing.pairs), len(pairs))
        pointers = library.Adapter(cast(loras, POINTER(library.Lora)))
        return cls(matrices, scales, pointers, (loras, *packing.held))


class _Packing:
    """Deals out the room for an adapter: of each group all A, then each B."""

    def __init__(self, matrices: int, scales: int) -> None:
        """Of these addresses."""
        self.pairs: list[library.Pair] = []
        self.held: list[Any] = []
        self._at = matrices
        self._scale_at = scales

    def add(self, lora: library.Lora, group: Sequence[tuple[Pair, slice, slice]]) -> None:
        """Make room for a group's pairs, and have its structure point there."""
        if not group:
            return
        expands = (library.Expand * len(group))()
        self.held.append(expands)
        lora.ranks, lora.parts = sum(pair.shape.ranks for pair, _, _ in group), len(group)
        lora.a, lora.scales = self._at, self._scale_at
        lora.expands = cast(expands, POINTER(library.Expand))
        a, b = self._at, self._at + sum(_shrinking(pair.shape) for pair, _, _ in group)
        for expand, (pair, ranks, outputs) in zip(expands, group, strict=True):
            expand.rank, expand.ranks = ranks.start, pair.shape.ranks
            expand.out, expand.outs = outputs.start, outputs.stop - outputs.start
            expand.b = b
            self.pairs.append(_pair(pair, a, b, self._scale_at))
            a, b = a + _shrinking(pair.shape), b + _expanding(pair.shape)
            self._scale_at += pair.shape.ranks * SCALE_BYTES
        self._at = b


def packed_bytes(shape: Shape) -> int:
    """Bytes that a pair takes."""
    return _matrices(shape) + shape.ranks * SCALE_BYTES


def _matrices(shape: Shape) -> int:
    return _shrinking(shape) + _expanding(shape)


def _shrinking(shape: Shape) -> int:
    """Bytes of A."""
    return shape.ranks * shape.ins


def _expanding(shape: Shape) -> int:
    """Bytes of B, whose ranks are filled up to whole quads."""
    return shape.outs * -(-shape.ranks // QUAD) * QUAD


def _pair(pair: Pair, a: int, b: int, scales: int) -> library.Pair:
    return library.Pair(
        a=_matrix(pair.a),
        b=_matrix(pair.b),
        **pair.shape._asdict(),
        scale=pair.scale,
        packed_a=a,
        packed_b=b,
        scales=scales,
    )


def _matrix(values: torch.Tensor) -> library.Matrix:
    return library.Matrix(values.data_ptr(), TYPES.index(values.dtype))


def pointer(adapter: NativeAdapter) -> Any:
    """For a segment."""
    return ctypes.pointer(adapter.pointers)
