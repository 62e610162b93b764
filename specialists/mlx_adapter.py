"""LoRA adapters as MLX saves them, made into what PEFT would have saved.

MLX computes y = x·W + scale·(x·a)·b, so that its factors are PEFT's turned over, and its scale is
PEFT's alpha / r. https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/LORA.md
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from registry.files import CONFIG, AdapterFiles
from specialists.errors import NoAdapter

WEIGHTS = "adapters.safetensors"
_FACTOR = re.compile(r"model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([ab])")


def is_of_mlx(folder: Path) -> bool:
    """Whether a folder holds an adapter of MLX's, and none of PEFT's."""
    return (folder / WEIGHTS).is_file() and not AdapterFiles.in_folder(folder).weights.is_file()


def to_peft(folder: Path, to: Path) -> None:
    """Write an adapter of MLX's into another folder, as PEFT would have.

    Raises:
        NoAdapter: it cannot be read, or is no plain LoRA of a Llama's layers.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    try:
        config = _config(json.loads((folder / CONFIG).read_bytes()))
        factors = {_place(name): factor for name, factor in load_file(folder / WEIGHTS).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise NoAdapter(f"the MLX adapter in {folder} cannot be read: {error}") from error
    config |= {
        "target_modules": sorted({place.linear for place in factors}),
        "layers_to_transform": sorted({place.layer for place in factors}),
    }
    there = AdapterFiles.in_folder(to)
    there.config.write_text(json.dumps(config))
    save_file({place.name: each.T.contiguous() for place, each in factors.items()}, there.weights)


class _Place(NamedTuple):
    """Of a factor: its layer, its module there, and which of the two it is."""

    layer: int
    module: str
    side: str

    @property
    def linear(self) -> str:
        return self.module.rpartition(".")[2]

    @property
    def name(self) -> str:
        """What PEFT calls it."""
        return f"base_model.model.model.layers.{self.layer}.{self.module}.lora_{self.side}.weight"


def _place(name: str) -> _Place:
    found = _FACTOR.fullmatch(name)
    if found is None:
        raise NoAdapter(
            f"{WEIGHTS} holds {name[:160]}; only plain LoRA of the layers' linears can be served"
        )
    layer, module, side = found.groups()
    return _Place(int(layer), module, side.upper())


def _config(said: Any) -> dict[str, Any]:
    """What of PEFT's configuration does not depend on the tensors."""
    fields: Mapping[str, Any] = said if isinstance(said, dict) else {}
    kind, lora = fields.get("fine_tune_type", "lora"), fields.get("lora_parameters") or {}
    if kind != "lora":
        raise NoAdapter(f"{CONFIG} has the fine_tune_type {kind!a}; only plain LoRA can be served")
    try:
        rank, scale = int(lora["rank"]), float(lora["scale"])
    except (TypeError, KeyError, ValueError) as error:
        raise NoAdapter(
            f"{CONFIG} has no rank and scale in lora_parameters, as mlx_lm.lora writes them"
        ) from error
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": fields.get("model"),
        "r": rank,
        "lora_alpha": scale * rank,
    }
