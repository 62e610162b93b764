"""The forward pass with what takes torch many small kernels done in one."""

import torch
import triton

from specialists.engine.gpu import kernels
from specialists.engine.llama import Llama
from specialists.engine.pages import KVCache

GATES = 1024
"""Numbers that a program lets through gates."""


class GpuLlama(Llama):
    """See `Llama`."""

    def _store(
        self,
        number: int,
        qkv: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        stores: torch.Tensor,
        cache: KVCache,
    ) -> torch.Tensor:
        tokens, heads, dim = qkv.shape
        kernels.rotate[tokens, heads](
            qkv,
            *angles,
            stores,
            cache.keys[number],
            cache.values[number],
            HEADS=self.heads,
            KV_HEADS=self.kv_heads,
            HALF=dim // 2,
            LANES=triton.next_power_of_2(dim // 2),
        )
        return qkv[:, : self.heads]

    def _gated(self, x: torch.Tensor) -> torch.Tensor:
        tokens, width = x.shape
        out = x.new_empty((tokens, width // 2))
        kernels.gate[tokens, triton.cdiv(width // 2, GATES)](x, out, width // 2, BLOCK=GATES)
        return out
