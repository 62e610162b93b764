"""Sampling: the right distribution, each row by its own random numbers."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specialists.engine.core import Row, SamplingParams
from specialists.engine.sampler import _least, _wide_nucleus, sample


def row(seed=0, **params):
    settings = SamplingParams(max_tokens=8, seed=seed, **params)
    return Row("row", None, [1], 1, settings, None, lambda _: None, Random(seed))  # type: ignore[arg-type]


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


def chi_square(counts: torch.Tensor, expected: torch.Tensor) -> float:
    """Pearson's statistic, in standard deviations of its distribution above its mean."""
    likely = expected * counts.sum() >= 5
    observed = torch.cat((counts[likely], counts[~likely].sum()[None])).double()
    wanted = torch.cat((expected[likely], expected[~likely].sum()[None])).double() * counts.sum()
    shown = wanted > 0
    assert not observed[~shown].any(), "a token was drawn that cannot be"
    freedom = int(shown.sum()) - 1
    statistic = float(((observed - wanted)[shown] ** 2 / wanted[shown]).sum())
    return (statistic - freedom) / (2 * freedom) ** 0.5


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """What is drawn from, by sorting everything."""
    ranked, order = probabilities.double().sort(descending=True)
    kept = ranked.cumsum(0) - ranked < top_p
    chosen = torch.zeros_like(probabilities, dtype=torch.float64)
    chosen[order[kept]] = ranked[kept]
    return chosen / chosen.sum()


DRAWS = [(1.0, 1.0), (0.7, 1.0), (1.0, 0.9), (1.0, 0.3), (2.0, 0.999)]


@pytest.mark.parametrize(
    ("vocabulary", "temperature", "top_p"),
    [*((size, *draw) for size in (2048, 2100) for draw in DRAWS), (49_152, 1.0, 1.0)],
)
def test_a_long_vocabulary_is_drawn_from_as_its_softmax_says(vocabulary, temperature, top_p):
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(1)) * 3
    expected = nucleus((logits.double() / temperature).softmax(0), top_p)
    source = Random(3)
    counts = torch.zeros(vocabulary)
    params = SamplingParams(max_tokens=8, temperature=temperature, top_p=top_p)
    rows = [Row("row", None, [1], 1, params, None, lambda _: None, source)] * 50  # type: ignore[arg-type]
    for _ in range(60):
        tokens = [choice.token for choice in sample(logits.expand(50, -1), rows)]
        counts += torch.bincount(torch.tensor(tokens), minlength=vocabulary)
    assert chi_square(counts, expected) < 5


def test_the_chi_square_test_can_fail():
    expected = LOGITS.softmax(0)
    assert chi_square(torch.bincount(torch.zeros(500, dtype=torch.long), minlength=5), expected) > 5


def test_the_extremes_of_a_rows_random_numbers_are_tokens_that_can_be_drawn():
    class Extreme(Random):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def random(self):
            return self.value

    logits = torch.full((1, 256), -torch.inf)
    logits[0, 3], logits[0, 130], logits[0, 131] = 1.0, 2.0, 0.5
    for value, token in ((0.0, 3), (np.nextafter(1, 0), 131)):
        drawn = row()
        drawn.random = Extreme(value)
        assert sample(logits.clamp_min(-1e30), [drawn])[0].token == token


def test_logprobs_of_many_rows_are_those_of_each_alone():
    logits = torch.randn(6, 49_152, generator=torch.Generator().manual_seed(2)) * 3
    asked = [None, 0, 1, 20, 5, None]
    rows = [row(seed, logprobs=count, temperature=0.0) for seed, count in enumerate(asked)]
    for choice, count, own in zip(sample(logits, rows), asked, logits, strict=True):
        exact = own.double().log_softmax(0)
        assert choice.token == int(own.argmax())
        if count is None:
            assert (choice.logprob, choice.top) == (None, ())
            continue
        top = exact.topk(count)
        assert choice.logprob == pytest.approx(float(exact[choice.token]), abs=1e-4)
        assert [each.token for each in choice.top] == top.indices.tolist()
        assert [each.logprob for each in choice.top] == pytest.approx(top.values.tolist(), abs=1e-4)


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.99, 0.99999])
def test_a_nucleus_of_any_width_is_the_smallest_set_that_reaches_top_p(top_p):
    """Rows that settle among the first tokens, and rows that must be sorted whole, together."""
    logits = torch.randn(3, 49_152, generator=torch.Generator().manual_seed(4))
    logits *= torch.tensor([[0.2], [2.0], [6.0]])
    seeds = range(12)
    for own in logits:
        kept = nucleus(own.double().softmax(0), top_p) > 0
        rows = [row(seed, top_p=top_p) for seed in seeds]
        drawn = [choice.token for choice in sample(own.expand(len(rows), -1), rows)]
        # Sums in single precision may put the border one token further.
        slack = own >= own[kept].min() - 1e-2
        assert bool((kept | slack)[drawn].all())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-38, 1e-30, 0.1, 0.11, 0.25, 0.5, 1.0]), min_size=1).map(
        lambda few: [1.0, *few] * 5
    )
    | st.lists(st.floats(0, 1, width=32), max_size=60).map(lambda some: [1.0, *some]),
    st.floats(0.01, 1, exclude_max=True),
)
def test_a_wide_nucleus_is_the_fewest_tokens_that_reach_the_mass(values, share):
    weights = torch.tensor(values)
    mass = weights.sum() * share
    kept = _wide_nucleus(weights, mass)
    order = weights.double().argsort(descending=True, stable=True)
    before = weights.double()[order].cumsum(0) - weights.double()[order]
    wanted = order[(before < mass.double()) | (torch.arange(len(order)) == 0)]
    assert sorted(kept[kept > 0].tolist()) == sorted(weights[wanted][weights[wanted] > 0].tolist())
    assert torch.equal(kept[kept > 0], weights[kept > 0])


@pytest.mark.parametrize("top_k", [1, 2, 200, 256, 257, 2999])
def test_as_many_tokens_are_kept_as_are_asked_for(top_k):
    logits = torch.randn(3, 3000, generator=torch.Generator().manual_seed(1))
    others = SamplingParams(1, top_k=7), SamplingParams(1, min_p=0.5)
    params = [SamplingParams(1, top_k=top_k), *others]
    weights = logits.sub(logits.amax(1, keepdim=True)).exp()
    kept = (weights >= _least(weights, params)).sum(1).tolist()
    assert kept == [top_k, 7, int((weights[2] >= 0.5).sum())]
