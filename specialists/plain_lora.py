"""A plain LoRA adapter's two files, as PEFT writes them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.files import AdapterFiles

if TYPE_CHECKING:
    from torch import Tensor


class Factor(NamedTuple):
    """One of a module's two: `side` A is [rank, inputs], B is [outputs, rank].

    `module` is its full name, such as `model.layers.0.self_attn.q_proj`.
    """

    module: str
    side: str

    @property
    def name(self) -> str:
        """What PEFT calls it."""
        return f"base_model.model.{self.module}.lora_{self.side}.weight"


def write(
    to: Path, factors: "Mapping[Factor, Tensor]", *, base: str | None, rank: int, alpha: float
) -> None:
    """Write an adapter into a folder, which is made if need be.

    Args:
        to: the folder.
        factors: of all its modules.
        base: what it was trained on, if that is known.
        rank: of each pair.
        alpha: by alpha / rank each pair's product is multiplied.
    """
    from safetensors.torch import save_file

    to.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted({factor.module for factor in factors}),
    }
    files = AdapterFiles.in_folder(to)
    files.config.write_text(json.dumps(config, indent=2))
    save_file({each.name: values.contiguous() for each, values in factors.items()}, files.weights)
