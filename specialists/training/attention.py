"""Attention as training on a CPU has it in bfloat16, where torch's own takes twice as long.

Torch's kernel (`_scaled_dot_product_flash_attention_for_cpu`) keeps no probabilities, and computes
them once more on the way back, at a fifth of the pace of plain products. Of as few tokens as stand
together here they are small enough to be kept.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from specialists.training.packing import TOGETHER

GROUPED = "grouped"


def attention_for(device: torch.device, dtype: torch.dtype) -> str:
    """What transformers calls the attention that is fast there."""
    return GROUPED if device.type == "cpu" and dtype == torch.bfloat16 else "sdpa"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Softmax attention (Vaswani et al. 2017), heads that share keys and values in one product.

    Args:
        module: of transformers.
        query: [1, heads, tokens, dimensions].
        key: [1, heads of keys, tokens, dimensions].
        value: as `key`.
        attention_mask: bool [1, 1, tokens, tokens], whether one sees another; what is of another
            form, or longer, or of several rows, goes torch's way.
        options: of transformers; `scaling` is what products are multiplied by.

    Returns:
        [1, tokens, heads, dimensions], and None.
    """
    if attention_mask is None or not _is_one_short_row(query, key, attention_mask):
        seen, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return seen, None
    _, heads, tokens, width = query.shape
    shared = key.shape[1]
    unseen = torch.where(attention_mask[0], query.new_zeros(()), -torch.inf)
    scores = torch.baddbmm(
        unseen.repeat(1, heads // shared, 1),
        query.reshape(shared, -1, width),
        key[0].transpose(1, 2),
        alpha=options["scaling"],
    )
    seen = scores.softmax(-1) @ value[0]
    return seen.view(1, heads, tokens, width).transpose(1, 2).contiguous(), None


def _is_one_short_row(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> bool:
    is_square = query.shape[2] == key.shape[2] <= TOGETHER
    return is_square and query.shape[0] == 1 and mask.dtype == torch.bool and mask.ndim == 4


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
