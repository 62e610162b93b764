"""LoRA adapters as MLX saves them, made into what PEFT would have saved.

MLX computes y = x·W + scale·(x·a)·b, so that its factors are PEFT's turned over, and its scale is
PEFT's alpha / r. https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/LORA.md
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.files import CONFIG, AdapterFiles
from specialists.errors import NoAdapter
from specialists.plain_lora import Factor, write

WEIGHTS = "adapters.safetensors"
_FACTOR = re.compile(r"(model\.layers\.\d+\.\w+\.\w+)\.lora_([ab])")


def is_of_mlx(folder: Path) -> bool:
    """Whether a folder holds an adapter of MLX's, and none of PEFT's."""
    return (folder / WEIGHTS).is_file() and not AdapterFiles.in_folder(folder).weights.is_file()


def to_peft(folder: Path, to: Path) -> None:
    """Write an adapter of MLX's into another folder, as PEFT would have.

    Raises:
        NoAdapter: it cannot be read, or is no plain LoRA of a Llama's layers.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        base, rank, scale = _config(json.loads((folder / CONFIG).read_bytes()))
        factors = {_factor(name): values.T for name, values in load_file(folder / WEIGHTS).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise NoAdapter(f"the MLX adapter in {folder} cannot be read: {error}") from error
    write(to, factors, base=base, rank=rank, alpha=scale * rank)


def _factor(name: str) -> Factor:
    found = _FACTOR.fullmatch(name)
    if found is None:
        raise NoAdapter(
            f"{WEIGHTS} holds {name[:160]}; only plain LoRA of the layers' linears can be served"
        )
    module, side = found.groups()
    return Factor(module, side.upper())


def _config(said: Any) -> tuple[str | None, int, float]:
    """What it was trained on, its rank and its scale."""
    fields: Mapping[str, Any] = said if isinstance(said, dict) else {}
    kind, lora = fields.get("fine_tune_type", "lora"), fields.get("lora_parameters") or {}
    if kind != "lora":
        raise NoAdapter(f"{CONFIG} has the fine_tune_type {kind!a}; only plain LoRA can be served")
    try:
        return fields.get("model"), int(lora["rank"]), float(lora["scale"])
    except (TypeError, KeyError, ValueError) as error:
        raise NoAdapter(
            f"{CONFIG} has no rank and scale in lora_parameters, as mlx_lm.lora writes them"
        ) from error
