"""The likeliest few, compared by their examples alone."""

import numpy as np
from hashed import HashedWords
from hypothesis import given
from hypothesis import strategies as st

from router.routing.duel import EXAMPLES, RIDGE, decided, votes

ENCODER = HashedWords()


def unit(rows: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(0, 2**32 - 9))
def test_votes_are_those_of_a_ridge_regression(sizes, seed):
    """Against the primal form: least squares, each example counting less the more its rival has."""
    rivals = [unit(size, seed + place) for place, size in enumerate(sizes)]
    query = unit(1, seed + 8)[0]
    centre = np.mean([rows.mean(0) for rows in rivals], axis=0)
    rows = np.concatenate(rivals) - centre
    whose = np.repeat(np.arange(len(sizes)), sizes)
    wanted = (whose[:, None] == np.arange(len(sizes))) - 1 / len(sizes)
    counts = (np.mean(sizes) / np.array(sizes))[whose, None]
    weights = np.linalg.solve(
        rows.T @ (counts * rows) + RIDGE * np.eye(8), rows.T @ (counts * wanted)
    )
    found = votes(query, rivals)
    np.testing.assert_allclose(found, (query - centre) @ weights, atol=1e-3)
    np.testing.assert_allclose(found.sum(), 0, atol=1e-4)


def test_what_rivals_have_in_common_does_not_count():
    common = "please turn the volume in the living room"
    up, down = (ENCODER.encode([f"{common} {way} {n}" for n in "abcd"]) for way in ("up", "down"))
    [for_up, for_down] = votes(ENCODER.encode([f"{common} up now"])[0], [up, down])
    assert for_up > 0.2 > -0.2 > for_down


def test_only_the_nearest_examples_of_a_rival_are_looked_at():
    query, far = unit(1, 0)[0], -unit(1, 0)
    near = np.repeat(query[None], EXAMPLES, axis=0)
    other = unit(3, 1)
    alone = votes(query, [near, other])
    np.testing.assert_allclose(votes(query, [np.concatenate([near, far]), other]), alone, atol=1e-6)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=3), st.integers(0, 99))
def test_a_duel_moves_odds_between_rivals_and_not_from_the_base(odds, seed):
    draw = np.random.default_rng(seed)
    claims = draw.normal(size=len(odds))
    moved = decided(odds, claims - claims.mean(), draw.uniform(size=len(odds)))
    np.testing.assert_allclose(np.logaddexp.reduce(moved), np.logaddexp.reduce(odds), atol=1e-6)


def test_one_without_evidence_gains_nothing():
    before, after = [1.0, 1.0], decided([1.0, 1.0], np.array([-0.5, 0.5]), np.array([1.0, 0.0]))
    assert before[0] > after[0]
    assert after[1] - after[0] == 4
