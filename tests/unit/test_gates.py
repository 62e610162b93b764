"""Gates on held-out scores."""

import pytest
from pydantic import ValidationError
from tiny_adapter import card

from registry.gates import Gate, failures, read, written


def scored(*scores):
    names = ("metric", "value", "base_value", "data")
    return card(evaluation=[dict(zip(names, each, strict=False)) for each in scores])


CURRENT = scored(("f1", 0.8, 0.1, "a"), ("f1", 0.5, 0.1, "b"), ("perplexity", 4.0, 9.0, "a"))


@pytest.mark.parametrize(
    ("gate", "scores", "expected"),
    [
        ({}, [("f1", 0.8, 0.1, "a"), ("f1", 0.9, 0.1, "b")], []),
        (
            {},
            [("f1", 0.7, 0.1, "a"), ("f1", 0.5, 0.1, "b")],
            ["is 0.7, the current version has 0.8"],
        ),
        ({"tolerance": 0.11}, [("f1", 0.7, 0.1, "a"), ("f1", 0.5, 0.1, "b")], []),
        ({}, [("f1", 0.9, 0.1, "a")], ["not scored by f1 on b"]),
        ({}, [("exact", 0.9)], ["no held-out score of f1"]),
        ({}, [], ["no held-out score of f1"]),
        (
            {"at_least": "base"},
            [("f1", 0.1, 0.1, "a"), ("f1", 0.2, 0.3, "b")],
            ["bare base has 0.3"],
        ),
        ({"at_least": "base"}, [("f1", 0.9)], ["does not say what the bare base scores"]),
        ({"at_least": 0.5}, [("f1", 0.6), ("f1", 0.4)], ["is 0.4, what is asked for has 0.5"]),
        ({"metric": "perplexity"}, [("perplexity", 3.9, 9.0, "a")], []),
        ({"metric": "perplexity"}, [("perplexity", 4.1, 9.0, "a")], ["is 4.1"]),
        ({"metric": "perplexity", "at_least": "base"}, [("perplexity", 10.0, 9.0)], ["is 10"]),
    ],
)
def test_a_version_passes_or_is_told_why_not(gate, scores, expected):
    found = failures([Gate(**{"metric": "f1"} | gate)], scored(*scores), CURRENT)
    assert len(found) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, found, strict=True))


def test_the_first_version_has_nothing_to_be_better_than():
    assert failures([Gate(metric="f1")], scored(("f1", 0.0)), None) == []
    assert failures([Gate(metric="f1")], scored(), None) != []


def test_gates_are_kept_as_json():
    gates = (Gate(metric="f1"), Gate(metric="f1", at_least=0.5, tolerance=0.1))
    assert read(written(gates)) == gates
    assert read(None) == ()


@pytest.mark.parametrize(
    "fields", [{"at_least": "nobody"}, {"tolerance": -1}, {"at_least": float("nan")}, {"x": 1}]
)
def test_nonsense_is_no_gate(fields):
    with pytest.raises(ValidationError):
        Gate(**{"metric": "f1"} | fields)
