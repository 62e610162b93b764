"""Sampling: the right distribution, each row by its own random numbers."""

from random import Random

import pytest
import torch

from specialists.engine.core import SamplingParams, Sequence
from specialists.engine.sampler import sample


def row(seed=0, **params):
    settings = SamplingParams(max_tokens=8, seed=seed, **params)
    return Sequence("row", None, [1], 1, settings, None, lambda _: None, Random(seed))  # type: ignore[arg-type]


LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0])


def frequencies(draws=4000, **params):
    rows = [row(seed, **params) for seed in range(draws)]
    tokens = torch.tensor([choice.token for choice in sample(LOGITS.repeat(draws, 1), rows)])
    return torch.bincount(tokens, minlength=5) / draws


def test_zero_temperature_is_greedy():
    assert frequencies(50, temperature=0.0)[0] == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    expected = (LOGITS / temperature).softmax(0)
    assert frequencies(temperature=temperature).tolist() == pytest.approx(
        expected.tolist(), abs=0.03
    )


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    expected = LOGITS.softmax(0)
    assert expected[:2].sum() < 0.9 < expected[:3].sum()
    kept = torch.cat((expected[:3], torch.zeros(2))) / expected[:3].sum()
    assert frequencies(top_p=0.9).tolist() == pytest.approx(kept.tolist(), abs=0.03)


def test_tiny_top_p_and_tiny_temperature_are_greedy():
    assert frequencies(50, top_p=1e-9)[0] == 1
    assert frequencies(50, temperature=1e-9)[0] == 1


def test_a_seed_gives_the_same_token_in_any_company():
    alone = sample(LOGITS[None], [row(7)])[0].token
    crowd = sample(LOGITS.repeat(3, 1), [row(1, temperature=0.0), row(7), row(9, top_p=0.5)])
    assert crowd[1].token == alone


def test_logprobs_only_where_asked():
    choices = sample(LOGITS.repeat(2, 1), [row(), row(logprobs=0, temperature=0.0)])
    assert choices[0].logprob is None
    assert choices[1].logprob == pytest.approx(float(LOGITS.log_softmax(0)[0]))
    assert choices[1].top == ()
