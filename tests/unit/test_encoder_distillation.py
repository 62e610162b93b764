"""A tiny encoder learns which texts are alike from vectors that say so."""

from functools import partial

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from specialists.training import encoder_distillation
from specialists.training.encoder_distillation import distil

KINDS, EACH = 8, 12


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(encoder_distillation, "BATCH", 32)
    monkeypatch.setattr(encoder_distillation, "NEAREST", EACH)


def model() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertModel(config)


def lesson() -> tuple[list[list[int]], np.ndarray]:
    """Texts of random tokens, and vectors that say that those of one first token are alike."""
    draw = np.random.default_rng(0)
    kinds = np.repeat(np.arange(KINDS), EACH)
    rows = [
        [int(kind) + 1, *draw.integers(20, 99, 5 + number % 4)] for number, kind in enumerate(kinds)
    ]
    vectors = np.eye(KINDS, dtype=np.float32)[kinds]
    return rows, vectors


def alike(encoder, rows) -> float:
    """How much nearer texts of one kind are than others."""
    with torch.no_grad():
        found = encoder_distillation._means(encoder, rows)
    found = encoder_distillation._centred(found, found.mean(0))
    cosines = (found @ found.T).numpy()
    same = np.kron(np.eye(KINDS), np.ones((EACH, EACH))).astype(bool)
    return float(cosines[same].mean() - cosines[~same].mean())


def test_texts_that_the_large_one_holds_alike_come_near():
    rows, vectors = lesson()
    before = alike(model(), rows)
    told = []
    after = distil(model(), rows, vectors, epochs=60, told=lambda *each: told.append(each))
    assert alike(after, rows) > before + 0.3
    assert [step for step, _, _ in told] == list(range(1, told[0][1] + 1))
    assert told[-1][2] < told[0][2]


def test_an_adapter_is_trained_on(tmp_path):
    rows, vectors = lesson()
    distil(model(), rows, vectors, epochs=60).save_pretrained(tmp_path)
    losses: list[float] = []
    for begun in (None, tmp_path):
        told = partial(_keep, losses)
        distil(model(), rows, vectors, epochs=0.1, begun=begun, told=told)
    new, on = losses
    assert on < 0.8 * new


def _keep(losses: list[float], _step: int, _steps: int, loss: float) -> None:
    losses.append(loss)


def test_the_same_seed_gives_the_same_adapter_and_the_encoder_stays_as_it_was():
    rows, vectors = lesson()
    first, again, other = (
        distil(model(), rows, vectors, epochs=1, seed=seed) for seed in (3, 3, 4)
    )
    one, same, unlike = (
        torch.cat([w.flatten() for n, w in each.named_parameters() if "lora_" in n])
        for each in (first, again, other)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, unlike)
    left = first.unload().state_dict()
    assert all(torch.equal(left[name], weight) for name, weight in model().state_dict().items())
