import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.index import Index


def unit(rows: int, draw: np.random.Generator) -> np.ndarray:
    found = draw.normal(size=(rows, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def brute_force(groups: list[np.ndarray], query: np.ndarray) -> list[float]:
    scores = []
    for group in groups:
        centroid = group.mean(0) / np.linalg.norm(group.mean(0))
        near = np.sort(group @ query)[-8:].mean()
        scores.append(float(0.8 * near + 0.2 * (centroid @ query)))
    return scores


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_finds_what_brute_force_finds(sizes: list[int], seed: int):
    draw = np.random.default_rng(seed)
    groups, query = [unit(size, draw) for size in sizes], unit(1, draw)[0]
    scores = brute_force(groups, query)
    found = Index(groups).nearest(query, 5)
    assert len(found) == min(5, len(sizes))
    np.testing.assert_allclose([score for _, score in found], sorted(scores)[::-1][:5], atol=1e-5)
    np.testing.assert_allclose([scores[at] for at, _ in found], [s for _, s in found], atol=1e-5)


def test_the_search_does_not_stop_before_the_best():
    draw = np.random.default_rng(5)
    for _ in range(100):
        groups, query = [unit(size, draw) for size in draw.integers(1, 20, 60)], unit(1, draw)[0]
        [(at, _)] = Index(groups).nearest(query, 1)
        assert at == np.argmax(brute_force(groups, query))


def test_one_group_is_scored_as_among_many():
    draw = np.random.default_rng(3)
    group, query = unit(12, draw), unit(1, draw)[0]
    assert abs(Index([group]).score(query) - brute_force([group], query)[0]) < 1e-6


def test_examples_beyond_the_nearest_eight_count_by_their_centroid_alone():
    like, unlike = np.eye(2, 8, dtype=np.float32)
    few = Index([np.stack([like] * 8)]).score(like)
    many = Index([np.stack([like] * 8 + [unlike] * 8)]).score(like)
    np.testing.assert_allclose([few, many], [1, 0.8 + 0.2 / np.sqrt(2)], atol=1e-6)


def test_an_empty_index_finds_nothing():
    assert Index([]).nearest(np.ones(8, np.float32), 5) == []
    assert len(Index([])) == 0


def test_opposite_examples_do_not_divide_by_zero():
    row = np.eye(1, 8, dtype=np.float32)
    [(_, score)] = Index([np.concatenate([row, -row])]).nearest(row[0], 1)
    assert np.isfinite(score)
