"""Kinds of adapter: how the files of each become what the engine adds to the base's linears.

All kinds come to pairs of matrices, one for each module that they change (`lora.Pair`).
"""

import json
from collections.abc import Mapping
from typing import Protocol

import torch

from registry.files import AdapterFiles
from specialists.engine.lora import Layers, read_adapter, resident_bytes
from specialists.errors import AdapterUnavailable


class Kind(Protocol):
    """One kind of adapter."""

    def nbytes(self, files: AdapterFiles, dtype: torch.dtype, rank_bytes: int = 0) -> int:
        """Bytes that an adapter takes in memory, told without reading its weights.

        Args:
            files: the adapter.
            dtype: of its numbers in memory.
            rank_bytes: of what is held beside them for each rank of each module.
        """

    def read(self, files: AdapterFiles, layers: int) -> Layers:
        """Read an adapter for a base of so many layers."""


class Lora:
    """Plain LoRA (Hu et al. 2021), as PEFT saves it."""

    def nbytes(self, files: AdapterFiles, dtype: torch.dtype, rank_bytes: int = 0) -> int:
        """See `Kind`: from the header of its weights."""
        return resident_bytes(files.weights, dtype, rank_bytes)

    def read(self, files: AdapterFiles, layers: int) -> Layers:
        """See `Kind`."""
        return read_adapter(files, layers)


KINDS: Mapping[str, Kind] = {"LORA": Lora()}
"""By PEFT's name for them."""


def kind_of(files: AdapterFiles) -> Kind:
    """What kind an adapter is of.

    Raises:
        AdapterUnavailable: of none that is known here.
    """
    name = json.loads(files.config.read_text()).get("peft_type")
    if name not in KINDS:
        raise AdapterUnavailable(f"there is no kind of adapter {name!a}")
    return KINDS[name]
