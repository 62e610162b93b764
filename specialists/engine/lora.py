"""The adapters of a mixed batch: their weights, and how they are added to the base's linears.

`kinds.py` says which kinds of adapter there are; this one is the only one so far.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from registry.files import AdapterFiles

GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The base's linears that read the same input, and are therefore computed as one."""

Widths = Mapping[str, int]
"""Outputs of each module, by its name in GROUPS."""


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


def resident_bytes(weights: Path, dtype: torch.dtype, rank_bytes: int = 0) -> int:
    """Bytes that the adapter in this file takes, from its header alone.

    Args:
        weights: the file.
        dtype: of the numbers.
        rank_bytes: of what is held beside them for each rank of each module.
    """
    with safe_open(weights, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    numbers: int = sum(prod(shape) for shape in shapes.values())
    ranks: int = sum(shape[0] for name, shape in shapes.items() if "lora_A" in name)
    return numbers * dtype.itemsize + ranks * rank_bytes


def load_adapter(
    files: AdapterFiles, layers: int, widths: Widths, device: torch.device
) -> AdapterWeights:
    """Read an adapter from PEFT's two files.

    Matrices are float32: on CPUs a small float32 product costs a tenth of a bfloat16 one, whose
    kernels are made for large shapes.
    """
    settings = json.loads(files.config.read_text())
    with safe_open(files.weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stacked = (_layer(tensors, settings, layer, widths, device) for layer in range(layers))
    return AdapterWeights(tuple(stacked))


def _layer(
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    layer: int,
    widths: Widths,
    device: torch.device,
) -> Mapping[str, GroupLora]:
    groups = {}
    for name, modules in GROUPS.items():
        group = _group(tensors, settings, layer, modules, widths, device)
        if group is not None:
            groups[name] = group
    return groups


def _group(
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    layer: int,
    modules: tuple[str, ...],
    widths: Widths,
    device: torch.device,
) -> GroupLora | None:
    shrinks: list[torch.Tensor] = []
    expands: list[Expand] = []
    rank_at = output_at = 0
    for module in modules:
        prefix = f"base_model.model.model.layers.{layer}.{module}"
        a = tensors.get(f"{prefix}.lora_A.weight")
        if a is not None:
            rank = a.shape[0]
            b = tensors[f"{prefix}.lora_B.weight"].to(device, torch.float32)
            scaled = (b.t() * _scale(settings, prefix, rank)).contiguous()
            ranks = slice(rank_at, rank_at + rank)
            expands.append(Expand(ranks, slice(output_at, output_at + widths[module]), scaled))
            shrinks.append(a.to(device, torch.float32))
            rank_at += rank
        output_at += widths[module]
    if not shrinks:
        return None
    return GroupLora(torch.cat(shrinks).t().contiguous(), tuple(expands))


def _scale(settings: Mapping[str, Any], prefix: str, rank: int) -> float:
    """Alpha / r, or alpha / √r for rsLoRA (Kalajdzievski 2023)."""
    alpha = float(settings["lora_alpha"])
    module = prefix.removeprefix("base_model.model.")
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if module == pattern or module.endswith(f".{pattern}"):
            alpha = float(value)
            break
    return alpha / (sqrt(rank) if settings.get("use_rslora") else rank)
