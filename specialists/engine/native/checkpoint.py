"""A base's weights in blocks: those of its GGUF file as they are, others quantised once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specialists.base import GGUF
from specialists.engine.native.packing import Blocks, Floats
from specialists.weights import Weights

GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "lm_head": "output",
    "norm": "output_norm",
    "layers": "blk",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
READERS = {
    "Q4_0": (4, Blocks.of_q4_0),
    "Q4_1": (4, Blocks.of_q4_1),
    "Q4_K": (4, Blocks.of_q4_k),
    "Q8_0": (8, Blocks.of_q8_0),
}
"""llama.cpp's formats that are kept as they are, with their bits."""
MORE_BITS = 8
"""For what llama.cpp has in others."""
SCOPES = ("self_attn", "mlp")


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a base's folder.

    Attributes:
        folder: in transformers' layout, perhaps with a GGUF file of the same weights.
        heads: of the modules whose outputs llama.cpp has in another order.
        bits: of blocks that are made here of weights that no GGUF file has.
    """

    folder: Path
    heads: Mapping[str, int]
    bits: int

    def __contains__(self, name: str) -> bool:
        """Whether there is a weight of this name, as transformers calls it."""
        return name in self._weights

    def vector(self, name: str) -> Floats:
        """A weight in single precision."""
        values: Floats = self._weights[name].to(torch.float32).numpy()
        return values

    def blocks(self, *names: str) -> Blocks:
        """Linears of the same inputs as one, or an embedding, in blocks."""
        parts = [self._blocks(name) for name in names]
        if len({part.bits for part in parts}) > 1:
            parts = [Blocks.quantised(self.vector(name), MORE_BITS) for name in names]
        return Blocks.stacked(parts)

    def _blocks(self, name: str) -> Blocks:
        found = self._gguf.get(_gguf_name(name))
        if found is None:
            return Blocks.quantised(self.vector(name), self.bits)
        bits, read = READERS.get(found.tensor_type.name, (MORE_BITS, None))
        if read is not None and bits >= self.bits:
            return self._ordered(name, read(found.data))
        return Blocks.quantised(self.vector(name), MORE_BITS)

    def _ordered(self, name: str, blocks: Blocks) -> Blocks:
        """llama.cpp has the two halves of each head of queries and keys interleaved."""
        heads = self.heads.get(name.split(".")[-2])
        if heads is None:
            return blocks
        order = np.arange(len(blocks.d)).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)
        return blocks.rows(order)

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.folder)

    @cached_property
    def _gguf(self) -> dict[str, Any]:
        path = self.folder / GGUF
        if not path.is_file():
            return {}
        from specialists.gguf_file import GGUFFile

        return {tensor.name: tensor for tensor in GGUFFile(path).tensors}


def _gguf_name(name: str) -> str:
    parts = [part for part in name.removeprefix("model.").split(".") if part not in SCOPES]
    return ".".join(GGUF_NAMES.get(part, part) for part in parts)
