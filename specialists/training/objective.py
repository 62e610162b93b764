"""What is made small: the surprise at the answers, or the distance from an instructed base.

Context distillation (Askell et al. 2021, Snell et al. 2022): rows have the answers of the base that
was given an instruction. The adapter learns, without the instruction, all that the instructed base
thinks of each token of them, not just which one it wrote.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from specialists.training.data import Example
from specialists.training.packing import Packed, pack


def objective(network: Any, examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
    """The losses of the learnt tokens, in nats: [tokens]; and how many were the likeliest.

    A loss is the token's negative log-likelihood, or, of examples that an instructed base answered,
    the Kullback-Leibler divergence of what is predicted here from what that base predicts there.
    """
    packed = pack(examples)
    here = logits(network.get_base_model(), packed)
    right = int((here.argmax(dim=-1) == packed.targets).sum())
    instructed = [example.instructed for example in examples if example.instructed is not None]
    if not instructed:
        return F.cross_entropy(here, packed.targets, reduction="none"), right
    wanted = _as_the_base(network, pack(instructed))
    predicted = F.log_softmax(here, dim=-1)
    return F.kl_div(predicted, wanted, reduction="none", log_target=True).sum(dim=-1), right


@torch.no_grad()
def _as_the_base(network: Any, packed: Packed) -> torch.Tensor:
    """What the base alone predicts: log-probabilities, [learnt tokens, vocabulary]."""
    with network.disable_adapter():
        return F.log_softmax(logits(network.get_base_model(), packed), dim=-1)


def logits(llama: Any, packed: Packed) -> torch.Tensor:
    """Where a token is learnt, and nowhere else: [learnt tokens, vocabulary]."""
    hidden = llama.model(
        input_ids=packed.tokens, attention_mask=packed.mask, position_ids=packed.positions
    ).last_hidden_state
    found: torch.Tensor = llama.lm_head(hidden[0, packed.sources]).float()
    return found
