"""Penalties, biases and truncation, against transformers' own and against their formulas."""

from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import Parts
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from specialists.engine.core import Row, SamplingParams
from specialists.engine.sampler import sample
from specialists.engine.shaping import shaped
from specialists.engine.text_stream import TextStream
from specialists.engine.thought_budget import ThoughtBudget
from specialists.engine.thoughts import ThoughtReader

VOCABULARY = 300


def row(tokens=(1, 2), prompt_length=1, seed=0, **params):
    settings = SamplingParams(**params)
    return Row(
        "row", None, list(tokens), prompt_length, settings, None, lambda _: None, Random(seed)
    )  # type: ignore[arg-type]


def logits(rows=1, seed=0):
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


TOKENS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)


@settings(max_examples=50)
@given(tokens=TOKENS, penalty=st.floats(0.1, 5))
def test_repetition_is_penalised_as_transformers_does(tokens, penalty):
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([tokens]), logits())
    found = shaped(logits(), [row(tokens, 1, repetition_penalty=penalty)])
    torch.testing.assert_close(found, expected)


@settings(max_examples=50)
@given(tokens=TOKENS, prompt=st.integers(1, 5), often=st.floats(-2, 2), once=st.floats(-2, 2))
def test_use_is_penalised_by_openais_formula(tokens, prompt, often, once):
    counts = Counter(tokens[prompt:])
    expected = [
        value - counts[token] * often - (counts[token] > 0) * once
        for token, value in enumerate(logits()[0].tolist())
    ]
    asked = row(tokens, prompt, frequency_penalty=often, presence_penalty=once)
    torch.testing.assert_close(shaped(logits(), [asked])[0], torch.tensor(expected))


@settings(max_examples=50)
@given(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=200), st.data())
def test_a_row_that_grows_is_shaped_as_one_that_is_new(tokens, data):
    params = {"repetition_penalty": 1.3, "frequency_penalty": 0.4, "presence_penalty": 0.2}
    grown = row(tokens[:1], 1, logit_bias=((7, 2.0),), **params)
    for end in sorted(data.draw(st.sets(st.integers(1, len(tokens)), min_size=1))):
        grown.tokens = tokens[:end]
        new = row(tokens[:end], 1, logit_bias=((7, 2.0),), **params)
        assert torch.equal(shaped(logits(), [grown]), shaped(logits(), [new]))


def test_a_bias_forces_or_forbids_a_token():
    likeliest = int(logits()[0].argmax())
    assert sample(logits(), [row(temperature=0, logit_bias=((7, 100.0),))])[0].token == 7
    forbidden = row(temperature=0, logit_bias=((likeliest, -100.0),))
    assert sample(logits(), [forbidden])[0].token == int(logits()[0].topk(2).indices[1])


def test_neighbours_and_what_is_told_of_the_odds_are_untouched():
    given_, before = logits(3), logits(3)
    rows = [row(temperature=0), row(temperature=0, logit_bias=((7, 50.0),), logprobs=1), row()]
    found = sample(given_, rows)
    assert torch.equal(given_, before)
    assert torch.equal(shaped(given_, rows)[[0, 2]], before[[0, 2]])
    assert found[1].logprob == pytest.approx(float(before[1].log_softmax(0)[7]), abs=1e-5)
    assert found[1].top[0].token == int(before[1].argmax())


@pytest.mark.parametrize(
    ("params", "warpers"),
    [
        ({"top_k": 5}, [TopKLogitsWarper(5)]),
        ({"top_k": 1}, [TopKLogitsWarper(1)]),
        ({"top_k": 10_000}, []),
        ({"min_p": 0.2}, [MinPLogitsWarper(0.2)]),
        ({"min_p": 1.0}, [MinPLogitsWarper(1.0)]),
        ({"top_k": 8, "top_p": 0.7}, [TopKLogitsWarper(8), TopPLogitsWarper(0.7)]),
        ({"min_p": 0.1, "top_p": 0.8}, [MinPLogitsWarper(0.1), TopPLogitsWarper(0.8)]),
        ({"top_p": 0.0}, [TopKLogitsWarper(1)]),
    ],
)
@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_draws_follow_what_transformers_keeps(params, warpers, temperature):
    scores = logits() / temperature
    for warper in warpers:
        scores = warper(torch.tensor([[1]]), scores)
    expected = scores[0].softmax(0)
    draws = 3000
    rows = [row(seed=seed, temperature=temperature, **params) for seed in range(draws)]
    tokens = torch.tensor([choice.token for choice in sample(logits().expand(draws, -1), rows)])
    found = torch.bincount(tokens, minlength=VOCABULARY) / draws
    assert set(tokens.tolist()) <= set(expected.nonzero().flatten().tolist())
    torch.testing.assert_close(found, expected, atol=0.035, rtol=0)


def test_a_budget_costs_nothing_until_it_is_spent():
    thinking, plain = row(), logits()
    text = TextStream(Parts("a" * 8), (), ThoughtReader(thinking=True))
    thinking.budget = ThoughtBudget(1, [7], text)
    assert shaped(plain, [thinking]) is plain
    thinking.budget.accept(5)
    text.push(5)
    found = shaped(plain.clone(), [thinking])[0]
    assert found.isfinite().nonzero().flatten().tolist() == [7]
    thinking.budget.accept(7)
    assert shaped(plain, [thinking]) is plain
    torch.testing.assert_close(plain, logits())
