"""Attention of training gives what torch's own gives, and the same gradients."""

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from specialists.training import attention
from specialists.training.attention import attention_for, grouped_attention

HEADS, SHARED, WIDTH = 6, 2, 16


def module():
    made = torch.nn.Module()
    made.num_key_value_groups, made.is_causal = HEADS // SHARED, True
    return made


def drawn(tokens, dtype=torch.float32, queries=None):
    draw = torch.Generator().manual_seed(tokens)
    shapes = (HEADS, queries or tokens), (SHARED, tokens), (SHARED, tokens)
    return [
        torch.randn(1, *shape, WIDTH, generator=draw).to(dtype).requires_grad_() for shape in shapes
    ]


def tree(tokens):
    """Two rows that begin alike and then go on side by side."""
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    mask[2 * tokens // 3 :, tokens // 3 : 2 * tokens // 3] = False
    return mask[None, None]


def computed(attend, states, mask):
    found, _ = attend(module(), *states, mask, scaling=WIDTH**-0.5, dropout=0.0)
    found.float().square().sum().backward()
    return [found.detach(), *(state.grad for state in states)]


@pytest.mark.parametrize("tokens", [1, 3, 90])
def test_it_gives_what_torch_gives_and_the_same_gradients(tokens):
    ours = computed(grouped_attention, drawn(tokens), tree(tokens))
    torchs = computed(sdpa_attention_forward, drawn(tokens), tree(tokens))
    for mine, theirs in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_in_bfloat16_it_is_about_as_near_to_the_exact_one_as_torchs():
    mask = tree(90)
    exact = computed(sdpa_attention_forward, drawn(90), mask)

    def off(attend):
        rounded = computed(attend, drawn(90, torch.bfloat16), mask)
        pairs = zip(rounded, exact, strict=True)
        return [float((a.float() - b).norm() / b.norm()) for a, b in pairs]

    for mine, theirs in zip(off(grouped_attention), off(sdpa_attention_forward), strict=True):
        assert mine < 1.5 * theirs


@pytest.mark.parametrize("mask", [None, torch.zeros(1, 1, 5, 5)])
def test_what_has_no_mask_of_truths_goes_torchs_way(mask):
    ours, torchs = (
        computed(attend, drawn(5), mask) for attend in (grouped_attention, sdpa_attention_forward)
    )
    for mine, theirs in zip(ours, torchs, strict=True):
        assert torch.equal(mine, theirs)


def test_what_is_long_or_of_two_rows_or_has_keys_of_before_goes_torchs_way(monkeypatch):
    asked = []

    def noted(*arguments, **options):
        asked.append(arguments[1].shape[2])
        return sdpa_attention_forward(*arguments, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", noted)
    monkeypatch.setattr(attention, "TOGETHER", 8)
    for tokens in (8, 9):
        computed(grouped_attention, drawn(tokens), tree(tokens))
    computed(grouped_attention, drawn(6, queries=2), torch.ones(1, 1, 2, 6, dtype=torch.bool))
    two = [state.detach().repeat(2, 1, 1, 1).requires_grad_() for state in drawn(7)]
    computed(grouped_attention, two, tree(7).repeat(2, 1, 1, 1))
    assert asked == [9, 2, 7]


def test_it_is_taken_where_it_is_the_faster_one():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert attention_for(cpu, torch.bfloat16) == attention.GROUPED
    assert attention_for(cpu, torch.float32) == attention_for(gpu, torch.bfloat16) == "sdpa"
