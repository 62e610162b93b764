"""Learning to answer without an instruction as the base does with it."""

import pytest
import torch
from test_finetune import ROWS, row
from tiny import tiny_base
from torch.nn import functional as F

from specialists.engine.text import Tokenizer
from specialists.training.encoding import encode, encode_instructed
from specialists.training.finetune import finetune
from specialists.training.lora_network import with_adapter
from specialists.training.objective import objective
from specialists.training.recipe import Recipe

INSTRUCTION = "ask for the lazy dog, in the evening"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tokenizer(base):
    return Tokenizer.from_folder(base.folder)


def divergence(network, example) -> torch.Tensor:
    """Row by row, from all logits, as the definition has it."""
    with torch.no_grad(), network.disable_adapter():
        there = network(torch.tensor([example.instructed.tokens])).logits[0, :-1]
    here = network(torch.tensor([example.tokens])).logits[0, :-1]
    wanted = there[torch.tensor(example.instructed.learnt[1:])].softmax(-1)
    predicted = here[torch.tensor(example.learnt[1:])].softmax(-1)
    return (wanted * (wanted / predicted).log()).sum()


def test_the_loss_is_the_divergence_from_the_instructed_base(base, tokenizer):
    network = with_adapter(base, Recipe(rank=2)).float()
    examples = [encode_instructed(each, INSTRUCTION, tokenizer, 512) for each in ROWS]
    losses, right = objective(network, examples)
    loss = losses.sum()
    expected = sum(divergence(network, example) for example in examples)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)
    assert loss > 0
    assert 0 <= right <= sum(sum(example.learnt) for example in examples)


def test_what_is_learnt_is_the_same_with_and_without_the_instruction(tokenizer):
    turns = row("the fox", "fox again")
    example = encode_instructed(turns, INSTRUCTION, tokenizer, 512)

    def learnt(each):
        return [token for token, own in zip(each.tokens, each.learnt, strict=True) if own]

    assert learnt(example) == learnt(example.instructed) == learnt(encode(turns, tokenizer, 512))
    assert len(example.instructed.tokens) > len(example.tokens)
    assert example.tokens == encode(turns, tokenizer, 512).tokens
    assert encode_instructed(turns, INSTRUCTION, tokenizer, 8) is None


def test_an_instruction_of_the_rows_own_gives_way(tokenizer):
    told = row("the fox", "fox again")
    system = told.messages[0].model_copy(update={"role": "system", "content": "be brief"})
    other = told.model_copy(update={"messages": (system, *told.messages)})
    assert encode_instructed(other, INSTRUCTION, tokenizer, 512) == encode_instructed(
        told, INSTRUCTION, tokenizer, 512
    )


def test_an_adapter_learns_to_do_without_the_instruction(base, tmp_path):
    curve = []
    recipe = Recipe(rank=4, epochs=30, batch_size=5, learning_rate=3e-2, patience=30)
    finetune(
        base,
        ROWS,
        tmp_path,
        recipe,
        lambda step: curve.append(step.validation_loss),
        validation=ROWS,
        instruction=INSTRUCTION,
    )
    losses = [loss for loss in curve if loss is not None]
    assert losses[-1] < 0.3 * losses[0]


def test_cross_entropy_is_taken_where_nobody_was_instructed(base, tokenizer):
    network = with_adapter(base, Recipe(rank=2)).float()
    example = encode(ROWS[0], tokenizer, 512)
    logits = network(torch.tensor([example.tokens])).logits[0, :-1]
    learnt = torch.tensor(example.learnt[1:])
    targets = torch.tensor(example.tokens[1:])[learnt]
    expected = F.cross_entropy(logits[learnt], targets, reduction="none")
    torch.testing.assert_close(objective(network, [example])[0], expected, rtol=1e-4, atol=1e-4)
