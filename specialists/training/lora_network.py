"""The network that is trained: the base, frozen, with a LoRA adapter."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from registry.files import CONFIG, WEIGHTS
from specialists.base import Base
from specialists.hardware import choose_dtype, fastest_device
from specialists.training.recipe import Recipe

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def bare_network(base: Base) -> Any:
    """The base as transformers has it, where and in what this machine computes fast."""
    return _read(base).to(fastest_device())


def _read(base: Base) -> Any:
    from transformers import AutoModelForCausalLM

    from specialists.training.attention import attention_for

    device = fastest_device()
    dtype = choose_dtype("auto", device)
    attention = attention_for(device, dtype)
    return AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=dtype, attn_implementation=attention
    )


def with_adapter(base: Base, recipe: Recipe, parent: Path | None = None) -> Any:
    """The base with a new adapter, or with one to go on from; only the adapter is trained.

    Args:
        base: the frozen weights.
        recipe: its rank and seed; a parent has a rank of its own.
        parent: folder of a LoRA adapter.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    bare, device = _read(base), fastest_device()
    if parent is not None:
        return PeftModel.from_pretrained(bare, parent, is_trainable=True).to(device)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        target_modules=list(ALL_LINEAR),
        task_type="CAUSAL_LM",
    )
    # A seed's numbers are those of the CPU, whoever trains.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return get_peft_model(bare, config).to(device)


def save_adapter(network: Any, base: Base, folder: Path) -> None:
    """Write the adapter as a plain PEFT folder in bfloat16, its config last."""
    folder.mkdir(parents=True, exist_ok=True)
    network.peft_config["default"].base_model_name_or_path = base.name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".draft-") as draft:
        # PEFT would ask a hub whether the vocabulary grew; only linears are trained here.
        network.to(torch.bfloat16).save_pretrained(draft, save_embedding_layers=False)
        for name in (WEIGHTS, CONFIG):
            (Path(draft) / name).replace(folder / name)
