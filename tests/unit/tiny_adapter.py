"""A tiny base, and valid adapters for it, to be spoilt by the tests one field at a time."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.base import BaseSpec
from registry.card import Card

BASE = BaseSpec(
    name="tiny",
    digest="sha256:" + "7" * 64,
    layers=2,
    hidden=16,
    context=128,
    modules={
        "self_attn.q_proj": (16, 16),
        "self_attn.k_proj": (8, 16),
        "self_attn.v_proj": (8, 16),
        "self_attn.o_proj": (16, 16),
        "mlp.gate_proj": (32, 16),
        "mlp.up_proj": (32, 16),
        "mlp.down_proj": (16, 32),
    },
)
Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


def card(id: str = "ada/coach", **fields: Any) -> Card:  # noqa: A002
    return Card.of({"id": id, "description": "Rehearses salary talks."} | fields)


def config(**fields: Any) -> bytes:
    plain = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    return json.dumps(plain | fields).encode()


def tensors(
    modules: tuple[str, ...] = ("self_attn.q_proj",), rank: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for layer in range(BASE.layers):
        for module in modules:
            d_out, d_in = BASE.modules[module]
            at = f"base_model.model.model.layers.{layer}.{module}"
            found[f"{at}.lora_A.weight"] = 0.1 * draw.random((rank, d_in), np.float32)
            found[f"{at}.lora_B.weight"] = 0.1 * draw.random((d_out, rank), np.float32)
    return found


def weights(found: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> bytes:
    """A safetensors file, written by hand: float32 as F32, float16 as F16, uint16 as BF16."""
    names = {"float32": "F32", "float16": "F16", "uint16": "BF16"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in (tensors(seed=seed) if found is None else found).items():
        end = len(data) + array.nbytes
        header[name] = {
            "dtype": names[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    return raw(json.dumps(header).encode(), data)


def raw(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data
