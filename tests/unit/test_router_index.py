import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.index import NEIGHBOURS, Index


def unit(rows: int, draw: np.random.Generator) -> np.ndarray:
    found = draw.normal(size=(rows, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def brute_force(groups: list[np.ndarray], query: np.ndarray) -> list[float]:
    scores = []
    for group in groups:
        centroid = group.mean(0) / np.linalg.norm(group.mean(0))
        near = np.sort(group @ query)[-NEIGHBOURS:].mean()
        scores.append(float(near + centroid @ query) / 2)
    return scores


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_finds_what_brute_force_finds(sizes: list[int], seed: int):
    draw = np.random.default_rng(seed)
    groups, query = [unit(size, draw) for size in sizes], unit(1, draw)[0]
    scores = brute_force(groups, query)
    found = Index(groups).nearest(query, 5)
    assert len(found) == min(5, len(sizes))
    np.testing.assert_allclose([score for _, score in found], sorted(scores)[::-1][:5], atol=1e-5)
    np.testing.assert_allclose([scores[at] for at, _ in found], [s for _, s in found], atol=1e-5)


def test_an_empty_index_finds_nothing():
    assert Index([]).nearest(np.ones(8, np.float32), 5) == []
    assert len(Index([])) == 0


def test_opposite_examples_do_not_divide_by_zero():
    row = np.eye(1, 8, dtype=np.float32)
    [(_, score)] = Index([np.concatenate([row, -row])]).nearest(row[0], 1)
    assert np.isfinite(score)
