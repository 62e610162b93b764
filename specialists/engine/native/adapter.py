"""Adapters as the kernels read them: of 8 bits, in one piece of memory (see lora.h)."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, cast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from registry.safetensors_header import Tensor
from specialists.engine.lora import GROUPS, Layout, Pair, Shape, Widths, mapped, placed
from specialists.engine.native import library

TYPES = ("F32", "F16", "BF16")
"""Of numbers that are saved, in the order of pack.cpp."""
SCALE_BYTES = torch.float32.itemsize
WORD = 4
"""Ranks of an output of B that lie together."""


@dataclass(frozen=True)
class Plan:
    """Where the numbers of adapters of one layout go, and where the kernels find them then.

    Attributes:
        pairs: where each pair lies in a file, and where it goes.
        groups: what the kernels read of each layer and group.
        matrices: bytes of all matrices.
        scales: how many there are.
        held: what the structures need to stay alive.
    """

    pairs: "ctypes.Array[library.Pair]"
    groups: "ctypes.Array[library.Lora]"
    matrices: int
    scales: int
    held: tuple[Any, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that an adapter takes."""
        return self.matrices + self.scales * SCALE_BYTES

    @classmethod
    def of(cls, layout: Layout, widths: Widths) -> "Plan":
        """Plan for a base of these outputs of its modules."""
        groups = (library.Lora * (len(layout.layers) * len(GROUPS)))()
        dealing = _Dealing()
        parts = ((layer, modules) for layer in layout.layers for modules in GROUPS.values())
        for lora, (layer, modules) in zip(groups, parts, strict=True):
            dealing.add(lora, list(placed(layer, modules, widths)))
        pairs = (library.Pair * len(dealing.pairs))(*dealing.pairs)
        return cls(pairs, groups, dealing.matrices, dealing.scales, tuple(dealing.held))


@dataclass(frozen=True, slots=True)
class NativeAdapter:
    """An adapter's numbers, and the structure that points to them.

    Attributes:
        plan: where they lie.
        matrices: all of them, int8.
        scales: float32, one for each rank of each group: what A's and B's numbers are multiples of,
            multiplied.
        pointers: for the kernels.
    """

    plan: Plan
    matrices: torch.Tensor
    scales: torch.Tensor
    pointers: library.Adapter

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices and scales."""
        return self.matrices.nbytes + self.scales.nbytes

    @classmethod
    def read(cls, file: Path, plan: Plan, kernels: ctypes.CDLL) -> "NativeAdapter":
        """Pack the numbers of a file."""
        matrices = torch.empty(plan.matrices, dtype=torch.int8)
        scales, numbers = torch.empty(plan.scales), mapped(file)
        there = matrices.data_ptr(), scales.data_ptr()
        # Not held by Python's lock: steps go on meanwhile.
        kernels.myriad_pack(plan.pairs, len(plan.pairs), numbers.data_ptr(), *there)
        groups = cast(plan.groups, POINTER(library.Lora))
        return cls(plan, matrices, scales, library.Adapter(groups, *there))


class _Dealing:
    """Deals out the room for an adapter: of each group all A, then each B."""

    def __init__(self) -> None:
        self.pairs: list[library.Pair] = []
        self.held: list[Any] = []
        self.matrices = self.scales = 0

    def add(self, lora: library.Lora, group: Sequence[tuple[Pair[Tensor], slice, slice]]) -> None:
        """Make room for a group's pairs, and have its structure point there."""
        if not group:
            return
        expands = (library.Expand * len(group))()
        self.held.append(expands)
        lora.ranks, lora.parts = sum(pair.shape.ranks for pair, _, _ in group), len(group)
        lora.a, lora.scales = self.matrices, self.scales
        lora.expands = cast(expands, POINTER(library.Expand))
        a, b = lora.a, lora.a + sum(_shrinking(pair.shape) for pair, _, _ in group)
        for expand, (pair, ranks, outputs) in zip(expands, group, strict=True):
            expand.rank, expand.ranks = ranks.start, pair.shape.ranks
            expand.out, expand.outs = outputs.start, outputs.stop - outputs.start
            expand.b = b
            self.pairs.append(_pair(pair, a, b, self.scales))
            a, b = a + _shrinking(pair.shape), b + _expanding(pair.shape)
            self.scales += pair.shape.ranks
        self.matrices = b


def _shrinking(shape: Shape) -> int:
    """Bytes of A."""
    return shape.ranks * shape.ins


def _expanding(shape: Shape) -> int:
    """Bytes of B, whose ranks are filled up to whole words."""
    return shape.outs * -(-shape.ranks // WORD) * WORD


def _pair(pair: Pair[Tensor], a: int, b: int, scales: int) -> library.Pair:
    return library.Pair(
        a=_matrix(pair.a),
        b=_matrix(pair.b),
        **pair.shape._asdict(),
        scale=pair.scale,
        packed_a=a,
        packed_b=b,
        scales=scales,
    )


def _matrix(tensor: Tensor) -> library.Matrix:
    return library.Matrix(tensor.start, TYPES.index(tensor.dtype))


def pointer(adapter: NativeAdapter) -> Any:
    """For a segment."""
    return ctypes.pointer(adapter.pointers)
