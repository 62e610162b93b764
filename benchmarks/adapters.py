"""Adapters of random weights, for what does not depend on what they have learnt."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig

from registry.files import CONFIG, WEIGHTS
from specialists.base import Base
from specialists.engine.lora import MODULES


def random_adapter(
    base: Base, folder: Path, rank: int, seed: int, dtype: torch.dtype = torch.float32
) -> Path:
    """A PEFT folder of random weights over all linears, too small to change what is answered."""
    config = AutoConfig.from_pretrained(base.folder)
    hidden, inner = config.hidden_size, config.intermediate_size
    head = config.head_dim or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    shapes = [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for layer in range(config.num_hidden_layers):
        for module, (ins, outs) in zip(MODULES, shapes, strict=True):
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            a = torch.randn(rank, ins, generator=generator) / ins**0.5
            b = torch.randn(outs, rank, generator=generator) / 1000
            tensors |= {
                f"{prefix}.lora_A.weight": a.to(dtype),
                f"{prefix}.lora_B.weight": b.to(dtype),
            }
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS)
    targets = [module.rpartition(".")[2] for module in MODULES]
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder
