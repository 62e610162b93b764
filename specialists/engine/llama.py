"""The Llama forward pass over a packed batch of tokens from many rows and adapters.

Source of the architecture: Touvron et al. 2023, as transformers implements it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from specialists.engine.batch import Batch
from specialists.engine.lora import GROUPS, MODULES, Widths
from specialists.engine.pages import KVCache
from specialists.errors import BaseUnavailable


class Llama:
    """A base's weights, and the forward pass through them and a batch's adapters."""

    def __init__(
        self,
        config: Any,
        weights: Mapping[str, torch.Tensor],
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.context = int(config.max_position_embeddings)
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.eps = config.rms_norm_eps
        self.dtype, self.device = dtype, device
        weights = {
            name.removeprefix("model."): tensor.to(device, dtype)
            for name, tensor in weights.items()
        }
        self.embedding = weights["embed_tokens.weight"]
        self.norm = weights["norm.weight"]
        self.head = weights.get("lm_head.weight", self.embedding)
        self.layers = [
            _Layer.from_weights(weights, layer) for layer in range(config.num_hidden_layers)
        ]
        self.widths = _widths(weights)
        self._rope = _Rope(config, device)

    def new_cache(self, pages: int) -> KVCache:
        """An empty cache of that many pages."""
        return KVCache(
            len(self.layers),
            pages,
            self.kv_heads,
            self.head_dim,
            dtype=self.dtype,
            device=self.device,
        )

    @torch.inference_mode()
    def forward(self, batch: Batch, cache: KVCache) -> torch.Tensor:
        """Store the batch's keys and values; return float32 logits [samples, vocabulary]."""
        x = F.embedding(batch.tokens, self.embedding)
        angles = self._rope(batch.positions, self.dtype)
        for number, layer in enumerate(self.layers):
            y = self._norm(x, layer.attention_norm)
            x = x + self._attention(number, layer, y, angles, batch, cache)
            y = self._norm(x, layer.mlp_norm)
            x = x + self._mlp(number, layer, y, batch)
        return F.linear(self._norm(x[batch.samples], self.norm), self.head).float()

    def _attention(
        self,
        number: int,
        layer: "_Layer",
        x: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        batch: Batch,
        cache: KVCache,
    ) -> torch.Tensor:
        qkv = _linear(x, layer.qkv, "qkv", number, batch).view(len(x), -1, self.head_dim)
        queries = self._store(number, qkv, angles, batch.stores, cache)
        out = batch.attention.attend(queries, cache.keys[number], cache.values[number])
        return _linear(out.flatten(1), layer.o, "o", number, batch)

    def _store(
        self,
        number: int,
        qkv: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        stores: torch.Tensor,
        cache: KVCache,
    ) -> torch.Tensor:
        """Rotate queries and keys [tokens, heads, head_dim], store keys and values; the queries."""
        sizes = [self.heads, self.kv_heads, self.kv_heads]
        queries, keys, values = torch.split(qkv, sizes, dim=1)
        cache.write(number, stores, _rotate(keys, angles), values)
        return _rotate(queries, angles)

    def _mlp(self, number: int, layer: "_Layer", x: torch.Tensor, batch: Batch) -> torch.Tensor:
        gated = self._gated(_linear(x, layer.gate_up, "gate_up", number, batch))
        return _linear(gated, layer.down, "down", number, batch)

    def _gated(self, x: torch.Tensor) -> torch.Tensor:
        """SwiGLU (Shazeer 2020) of gates and what they let through, side by side."""
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.eps)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's weights; linears that read the same input are stacked along their outputs."""

    attention_norm: torch.Tensor
    mlp_norm: torch.Tensor
    qkv: torch.Tensor
    o: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor

    @classmethod
    def from_weights(cls, weights: Mapping[str, torch.Tensor], layer: int) -> "_Layer":
        prefix = f"layers.{layer}."
        return cls(
            attention_norm=weights[f"{prefix}input_layernorm.weight"],
            mlp_norm=weights[f"{prefix}post_attention_layernorm.weight"],
            **{
                group: torch.cat([weights[f"{prefix}{module}.weight"] for module in modules])
                for group, modules in GROUPS.items()
            },
        )


class _Rope:
    """Rotary positions (Su et al. 2021), with the scaling that the base's config asks for."""

    def __init__(self, config: Any, device: torch.device) -> None:
        frequencies, self._scaling = rotary(config)
        self._frequencies = frequencies.to(device)

    def __call__(
        self, positions: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines [tokens, 1, head_dim]."""
        half = positions[:, None].float() * self._frequencies
        angles = torch.cat((half, half), dim=-1)[:, None]
        return (angles.cos() * self._scaling).to(dtype), (angles.sin() * self._scaling).to(dtype)


def rotary(config: Any) -> tuple[torch.Tensor, float]:
    """Frequencies [head_dim / 2], in single precision, and what cosines and sines are scaled by."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    rope = LlamaRotaryEmbedding(config)
    return rope.inv_freq.to(torch.float32), float(rope.attention_scaling)


def _rotate(x: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * angles[0] + torch.cat((-second, first), dim=-1) * angles[1]


def _linear(
    x: torch.Tensor, weight: torch.Tensor, group: str, layer: int, batch: Batch
) -> torch.Tensor:
    y = F.linear(x, weight)
    if batch.adapters is not None:
        batch.adapters.add(layer, group, x, y)
    return y


def require_plain(config: Any) -> None:
    """Refuse what is not computed.

    Raises:
        BaseUnavailable: the config asks for it.
    """
    rope = (config.rope_parameters or {}).get("rope_type", "default")
    wanted: dict[str, tuple[object, set[object]]] = {
        "model_type": (config.model_type, {"llama"}),
        "attention_bias": (config.attention_bias, {False}),
        "mlp_bias": (config.mlp_bias, {False}),
        "hidden_act": (config.hidden_act, {"silu"}),
        "rope_type": (rope, {"default", "linear", "llama3", "yarn"}),
    }
    for field, (value, served) in wanted.items():
        if value not in served:
            raise BaseUnavailable(f"bases with {field} = {value!r} are not served")


def _widths(weights: Mapping[str, torch.Tensor]) -> Widths:
    return {module: weights[f"layers.0.{module}.weight"].shape[0] for module in MODULES}


def load_llama(
    folder: Path, *, dtype: torch.dtype, device: torch.device, kind: type[Llama] = Llama
) -> Llama:
    """Read a Llama checkpoint in transformers' layout.

    Raises:
        BaseUnavailable: its config asks for something that `Llama` does not compute.
    """
    from transformers import AutoModelForCausalLM

    checkpoint = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    require_plain(checkpoint.config)
    return kind(checkpoint.config, checkpoint.state_dict(), dtype=dtype, device=device)
