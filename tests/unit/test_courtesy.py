"""Courtesy: a training gives way when others want its cores, and computes the same."""

import pytest
import torch
from tiny import tiny_base

from specialists.training import courtesy
from specialists.training.courtesy import LONGEST_SECONDS, Courtesy, between_layers, run_and_waited
from specialists.training.lora_network import with_adapter
from specialists.training.recipe import Recipe


def slept(before, after):
    """How long it sleeps, given what its thread ran and waited before and after."""
    times, naps = iter([before, after, after]), []
    Courtesy(lambda: next(times), naps.append)()
    return naps


@pytest.mark.parametrize(
    ("ran", "waited", "naps"),
    [
        (0.03, 0.03, []),
        (0.1, 0.0, []),
        (0.1, 0.07, []),
        (0.05, 0.06, [pytest.approx(0.44)]),
        (1.0, 1.1, [LONGEST_SECONDS]),
        (0.0, 0.0, []),
    ],
)
def test_it_sleeps_in_proportion_when_it_waited_long(ran, waited, naps):
    assert slept((5.0, 2.0), (5.0 + ran, 2.0 + waited)) == naps


def test_it_looks_back_over_several_layers():
    """A layer beside which somebody else had a core for a moment is no reason to sleep."""
    moments = [(0.0, 0.0), (0.02, 0.02), (0.06, 0.02), (0.1, 0.02), (0.1, 0.02), (0.15, 0.1)]
    times, naps = iter([*moments, moments[-1]]), []
    courtesy = Courtesy(lambda: next(times), naps.append)
    for _ in range(3):
        courtesy()
    assert naps == []
    courtesy()
    assert len(naps) == 1


def test_where_nothing_is_known_it_never_sleeps(tmp_path, monkeypatch):
    monkeypatch.setattr(courtesy, "SCHEDSTAT", tmp_path / "none")
    assert run_and_waited() == (0.0, 0.0)
    (tmp_path / "none").write_text("nonsense")
    assert run_and_waited() == (0.0, 0.0)


def test_this_threads_own_times_are_read(tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    file.write_text("3000000000 500000000 7\n")
    monkeypatch.setattr(courtesy, "SCHEDSTAT", file)
    assert run_and_waited() == (3.0, 0.5)


def test_it_is_called_before_every_layer_there_and_back(tmp_path):
    network = with_adapter(tiny_base(tmp_path), Recipe(rank=2)).float()
    tokens = torch.tensor([[5, 6, 7]])
    plain = network(tokens).logits
    calls = []
    between_layers(network, lambda: calls.append(1))
    hidden = network.get_base_model().model(tokens).last_hidden_state
    assert len(calls) == 2
    torch.autograd.backward(hidden.sum())
    # Nothing before the first layer is trained.
    assert len(calls) == 3
    assert network(tokens).logits.equal(plain)
