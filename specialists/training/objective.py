"""What is made small: the surprise at the answers, or another distance from what is wanted.

Preferences (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7): of two answers the
one that is wanted gains on the other, against what the network thought before training; how far
the two may drift from there, `beta` says.

Context distillation (Askell et al. 2021, Snell et al. 2022): rows have the answers of the base that
was given an instruction. The adapter learns, without the instruction, all that the instructed base
thinks of each token of them, not just which one it wrote.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from specialists.training.encoding import Example
from specialists.training.packing import Packed, groups, pack


def objective(
    network: Any, examples: Sequence[Example], beta: float = 0.1
) -> tuple[torch.Tensor, int]:
    """The losses, in nats: [lessons]; and of how many lessons what is wanted was the likeliest.

    A loss is a learnt token's negative log-likelihood, or, of examples that an instructed base
    answered, the Kullback-Leibler divergence of what is predicted here from what that base predicts
    there. A pair has one loss, and is right where its wanted answer gained on the other.
    """
    if examples[0].refused is not None:
        now = leads(network, examples)
        gained = now - torch.tensor([each.lead for each in examples], device=now.device)
        return -F.logsigmoid(beta * gained), int((gained > 0).sum())
    packed = pack(examples, network.device)
    here = logits(network.get_base_model(), packed)
    right = int((here.argmax(dim=-1) == packed.targets).sum())
    instructed = [example.instructed for example in examples if example.instructed is not None]
    if not instructed:
        return F.cross_entropy(here, packed.targets, reduction="none"), right
    wanted = _as_the_base(network, pack(instructed, network.device))
    predicted = F.log_softmax(here, dim=-1)
    return F.kl_div(predicted, wanted, reduction="none", log_target=True).sum(dim=-1), right


def leads(network: Any, pairs: Sequence[Example]) -> torch.Tensor:
    """By how many nats the wanted answer of each pair is likelier than the other: [pairs]."""
    surprise = surprises(network.get_base_model(), pairs)
    return surprise[1::2] - surprise[::2]


def surprises(llama: Any, examples: Sequence[Example]) -> torch.Tensor:
    """Of each part the summed negative log-likelihood of its learnt tokens, in nats: [parts]."""
    packed = pack(examples, llama.device)
    losses = F.cross_entropy(logits(llama, packed), packed.targets, reduction="none")
    counts = [part.count for example in examples for part in example.parts]
    return torch.stack([part.sum() for part in torch.split(losses, counts)])


@torch.no_grad()
def with_leads(network: Any, examples: Sequence[Example]) -> list[Example]:
    """Pairs with the leads that their answers have as yet; other examples as they are."""
    if not examples or examples[0].refused is None:
        return list(examples)
    own = [lead for group in groups(examples) for lead in leads(network, group).tolist()]
    return [replace(each, lead=lead) for each, lead in zip(examples, own, strict=True)]


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
