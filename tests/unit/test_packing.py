"""Packed rows: the loss and the gradients of padded rows, whatever they have in common."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_base
from torch.nn import functional as F

from specialists.training import packing
from specialists.training.encoding import Example
from specialists.training.lora_network import with_adapter
from specialists.training.objective import objective
from specialists.training.packing import groups, length, pack
from specialists.training.recipe import Recipe


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    base = tiny_base(tmp_path_factory.mktemp("base"))
    network = with_adapter(base, Recipe(rank=2))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:  # zero at first, which would hide A's gradients
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return network.float()


def example(tokens: list[int], learnt: int) -> Example:
    """A row whose last `learnt` tokens are learnt."""
    return Example(tokens, [False] * (len(tokens) - learnt) + [True] * learnt)


def oracle(network, examples: list[Example]) -> torch.Tensor:
    """Summed cross-entropy, row by row, of all logits."""
    total = torch.zeros(())
    for row in examples:
        logits = network(torch.tensor([row.tokens])).logits[0, :-1]
        losses = F.cross_entropy(logits, torch.tensor(row.tokens[1:]), reduction="none")
        total = total + losses[torch.tensor(row.learnt[1:])].sum()
    return total


def gradients(network, loss: torch.Tensor) -> list[torch.Tensor]:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return list(torch.autograd.grad(loss, weights))


rows = st.integers(1, 12).flatmap(
    lambda shared: st.lists(
        # Few tokens, so that rows go on alike.
        st.tuples(st.lists(st.integers(3, 5), min_size=0, max_size=9), st.integers(1, 5)),
        min_size=1,
        max_size=5,
    ).map(
        lambda rests: [
            example([7] * shared + rest + [9], min(learnt, shared + len(rest)))
            for rest, learnt in rests
        ]
    )
)


@settings(max_examples=25, deadline=None)
@given(rows=rows)
def test_loss_and_gradients_are_those_of_rows_apart(network, rows):
    loss = objective(network, rows)[0].sum()
    expected = oracle(network, rows)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(gradients(network, loss), gradients(network, expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-4)


def test_what_all_rows_begin_with_is_computed_once_and_what_predicts_nothing_never():
    packed = pack([example([1, 2, 3, 4, 5], 1), example([1, 2, 3, 6], 1)])
    # Nor are 5 and 6: nothing is predicted from them.
    assert packed.tokens.tolist() == [[1, 2, 3, 4]]
    assert packed.positions.tolist() == [[0, 1, 2, 3]]
    assert packed.targets.tolist() == [5, 6]
    assert packed.sources.tolist() == [3, 2]


def test_what_some_rows_go_on_with_is_computed_once_too():
    rows = [[1, 2, 3, 9], [1, 5, 6, 9], [1, 5, 7, 9]]
    packed = pack([example(row, 1) for row in rows])
    assert packed.tokens.tolist() == [[1, 2, 3, 5, 6, 7]]
    assert packed.positions.tolist() == [[0, 1, 2, 1, 2, 2]]
    assert packed.sources.tolist() == [2, 4, 5]
    assert packed.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 1, 0, 1],
    ]


def test_long_rows_are_spread_over_several_sequences(monkeypatch):
    monkeypatch.setattr(packing, "TOGETHER", 10)
    examples = [example([1, 2, *[row] * 6], 1) for row in range(5)]
    found = [pack(group) for group in groups(examples)]
    assert [packed.tokens.shape[1] for packed in found] == [7] * 5
    assert [length(group) for group in groups(examples)] == [7] * 5
    monkeypatch.setattr(packing, "TOGETHER", 12)
    found = [pack(group) for group in groups(examples)]
    assert [packed.tokens.shape[1] for packed in found] == [12, 12, 7]
    assert [len(packed.targets) for packed in found] == [2, 2, 1]
