"""The adapters of a mixed batch: their weights, and how they are added to the base's linears.

`kinds.py` says which kinds of adapter there are; this one is the only one so far.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from registry.files import AdapterFiles
from registry.safetensors_header import Tensor, header_of, parse_header

GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The base's linears that read the same input, and are therefore computed as one."""
MODULES = tuple(module for group in GROUPS.values() for module in group)
"""All of them, in that order."""

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
Widths = Mapping[str, int]
"""Outputs of each module, by its name in GROUPS."""


class Shape(NamedTuple):
    """How large a pair is."""

    ranks: int
    ins: int
    outs: int


Matrix = TypeVar("Matrix", Tensor, torch.Tensor)
"""Where it lies in a file, or its numbers."""


class Pair(NamedTuple, Generic[Matrix]):
    """One module's LoRA: y += (x·Aᵀ)·Bᵀ·scale (Hu et al. 2021)."""

    a: Matrix  # [rank, d_in]
    b: Matrix  # [d_out, rank]
    scale: float

    @property
    def shape(self) -> Shape:
        """How large it is."""
        ranks, ins = self.a.shape
        return Shape(ranks, ins, self.b.shape[0])


@dataclass(frozen=True, eq=False)
class Layout:
    """Where adapters lie in their files: one layout for all that were trained alike.

    Attributes:
        layers: of each layer the pairs of its modules, by their names in GROUPS.
    """

    layers: tuple[Mapping[str, Pair[Tensor]], ...]

    @property
    def shapes(self) -> list[Shape]:
        """Those of all pairs."""
        return [pair.shape for layer in self.layers for pair in layer.values()]


Layers = tuple[Mapping[str, Pair[torch.Tensor]], ...]
"""An adapter: of each layer the pairs of its modules, by their names in GROUPS."""


@dataclass(frozen=True, slots=True)
class Expand:
    """Columns of the shrunk input, where they go in the output, and through which matrix."""

    ranks: slice
    outputs: slice
    matrix: torch.Tensor  # [rank, d_out], the adapter's scale folded in


@dataclass(frozen=True, slots=True)
class GroupLora:
    """One adapter's LoRA over one fused linear: y += (x·Aᵀ)·Bᵀ·scale (Hu et al. 2021)."""

    shrink: torch.Tensor  # [d_in, Σ rank]
    expands: tuple[Expand, ...]

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Add this adapter's share for inputs x [rows, d_in] to outputs y [rows, Σ d_out]."""
        shrunk = x @ self.shrink
        for part in self.expands:
            y[:, part.outputs] += shrunk[:, part.ranks] @ part.matrix

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices."""
        return self.shrink.nbytes + sum(part.matrix.nbytes for part in self.expands)


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """One adapter, ready for the engine: per layer, the groups that it changes."""

    layers: tuple[Mapping[str, GroupLora], ...]

    @property
    def nbytes(self) -> int:
        """Bytes that the adapter takes while it is resident."""
        return sum(group.nbytes for layer in self.layers for group in layer.values())

    @classmethod
    def of(cls, layers: Layers, widths: Widths, device: torch.device) -> "AdapterWeights":
        """Take over an adapter's pairs, for a base of these outputs of its modules.

        Matrices are float32: on CPUs a small float32 product costs a tenth of a bfloat16 one, whose
        kernels are made for large shapes.
        """
        return cls(tuple(_groups(layer, widths, device) for layer in layers))


def shapes_of(weights: Path) -> list[Shape]:
    """The pairs in this file, from its header alone."""
    tensors = parse_header(*_head(weights))
    outs = {name: tensor.shape[0] for name, tensor in tensors.items() if "lora_B" in name}
    return [
        Shape(a.shape[0], a.shape[1], outs[name.replace("lora_A", "lora_B")])
        for name, a in tensors.items()
        if "lora_A" in name
    ]


def numbers_of(shapes: Iterable[Shape]) -> int:
    """Numbers of an adapter of these pairs."""
    return sum(each.ranks * (each.ins + each.outs) for each in shapes)


def float32_bytes(shapes: Iterable[Shape]) -> int:
    """Bytes that an adapter of these pairs takes in float32."""
    return numbers_of(shapes) * torch.float32.itemsize


def layout_of(files: AdapterFiles, layers: int) -> Layout:
    """How an adapter lies in PEFT's two files, for a base of so many layers."""
    return _layout(*_head(files.weights), files.config.read_bytes(), layers)


@lru_cache(maxsize=32)
def _layout(head: bytes, size: int, config: bytes, layers: int) -> Layout:
    tensors, settings = parse_header(head, size), json.loads(config)
    return Layout(tuple(dict(_stored(tensors, settings, layer)) for layer in range(layers)))


def _stored(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], layer: int
) -> Iterator[tuple[str, Pair[Tensor]]]:
    for module in MODULES:
        prefix = f"base_model.model.model.layers.{layer}.{module}"
        a = tensors.get(f"{prefix}.lora_A.weight")
        if a is not None:
            b = tensors[f"{prefix}.lora_B.weight"]
            yield module, Pair(a, b, _scale(settings, prefix, a.shape[0]))


def _head(file: Path) -> tuple[bytes, int]:
    """A file's header, and the whole file's size."""
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as data:
        return header_of(data), len(data)


def read_pairs(file: Path, layout: Layout) -> Layers:
    """An adapter's pairs, in the file's own pages: none is read before it is used."""
    raw = mapped(file)
    return tuple(
        {
            module: Pair(_tensor(raw, stored.a), _tensor(raw, stored.b), stored.scale)
            for module, stored in layer.items()
        }
        for layer in layout.layers
    )


def mapped(file: Path) -> torch.Tensor:
    """A file's bytes, where they lie."""
    return torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)


def _tensor(raw: torch.Tensor, tensor: Tensor) -> torch.Tensor:
    found, dtype = raw[tensor.start : tensor.end], DTYPES[tensor.dtype]
    # What does not lie at a multiple of its own size cannot be read there.
    aligned = found.clone() if tensor.start % dtype.itemsize else found
    return aligned.view(dtype).view(tensor.shape)


def _groups(
    layer: Mapping[str, Pair[torch.Tensor]], widths: Widths, device: torch.device
) -> Mapping[str, GroupLora]:
    found = {name: _group(layer, modules, widths, device) for name, modules in GROUPS.items()}
    return {name: group for name, group in found.items() if group is not None}


def _group(
    layer: Mapping[str, Pair[torch.Tensor]],
    modules: tuple[str, ...],
    widths: Widths,
    device: torch.device,
) -> GroupLora | None:
    shrinks: list[torch.Tensor] = []
    expands: list[Expand] = []
    for pair, ranks, outputs in placed(layer, modules, widths):
        b = pair.b.to(device, torch.float32)
        expands.append(Expand(ranks, outputs, (b.t() * pair.scale).contiguous()))
        shrinks.append(pair.a.to(device, torch.float32))
    if not shrinks:
        return None
    return GroupLora(torch.cat(shrinks).t().contiguous(), tuple(expands))


def placed(
    layer: Mapping[str, Pair[Matrix]], modules: tuple[str, ...], widths: Widths
) -> Iterator[tuple[Pair[Matrix], slice, slice]]:
    """A group's pairs, each with its ranks among theirs, and its outputs among all of the group."""
    rank = output = 0
    for module in modules:
        if (pair := layer.get(module)) is not None:
            end = rank + pair.shape.ranks
            yield pair, slice(rank, end), slice(output, output + widths[module])
            rank = end
        output += widths[module]


def _scale(settings: Mapping[str, Any], prefix: str, rank: int) -> float:
    """Alpha / r, or alpha / √r for rsLoRA (Kalajdzievski 2023)."""
    alpha = float(settings["lora_alpha"])
    module = prefix.removeprefix("base_model.model.")
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if module == pattern or module.endswith(f".{pattern}"):
            alpha = float(value)
            break
    return alpha / (sqrt(rank) if settings.get("use_rslora") else rank)
