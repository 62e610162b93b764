"""Kinds of adapter: how the files of each become what the engine adds to the base's linears.

All kinds come to pairs of matrices, one for each module that they change (`lora.Pair`).
"""

import json
from collections.abc import Mapping
from typing import Protocol

from registry.files import AdapterFiles
from specialists.engine.lora import Layout, layout_of
from specialists.errors import AdapterUnavailable


class Kind(Protocol):
    """One kind of adapter."""

    def layout(self, files: AdapterFiles, layers: int) -> Layout:
        """Where an adapter's pairs lie, for a base of so many layers; its weights are not read."""


class Lora:
    """Plain LoRA (Hu et al. 2021), as PEFT saves it."""

    def layout(self, files: AdapterFiles, layers: int) -> Layout:
        """See `Kind`: from the header of its weights, and its config."""
        return layout_of(files, layers)


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
