"""Training on a GPU: it learns what it learns on CPUs, and goes on after a stop."""

import pytest
import torch
from test_finetune import RECIPE, ROWS, STEPS, Kept, train
from tiny import tiny_base

from registry.files import AdapterFiles
from specialists.errors import TrainingStopped
from specialists.hardware import fastest_device
from specialists.training.evaluate import evaluate

pytestmark = pytest.mark.skipif(fastest_device().type != "cuda", reason="there is no GPU")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def test_it_learns_what_it_learns_on_cpus(base, tmp_path, monkeypatch):
    here = train(base, tmp_path / "gpu", validation=ROWS[:2])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    there = train(base, tmp_path / "cpu", validation=ROWS[:2])
    assert here.losses == pytest.approx(there.losses, rel=0.05)
    assert here.validation_loss == pytest.approx(there.validation_loss, rel=0.05)


def test_a_run_that_was_stopped_is_gone_on_with(base, tmp_path):
    kept = Kept()
    with pytest.raises(TrainingStopped):
        train(base, tmp_path / "stopped", keeper=kept, stop=lambda: True)
    found = train(base, tmp_path / "stopped", keeper=kept)
    assert found.steps == STEPS
    assert found.losses == pytest.approx(train(base, tmp_path / "whole").losses, rel=0.05)


def test_what_was_learnt_is_scored(base, tmp_path):
    trained = train(base, tmp_path / "gpu", RECIPE)
    scores = evaluate(base, AdapterFiles.in_folder(trained.folder), ROWS, "data")
    perplexity = {score.metric: score for score in scores}["perplexity"]
    assert perplexity.value < perplexity.base_value
