"""The index finds exactly what brute force finds, whatever the sizes of the groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing import index
from router.routing.compact import Compact
from router.routing.index import Index, score


def unit(rows: int, draw: np.random.Generator) -> np.ndarray:
    """Random rows of length one that 8 bits hold exactly."""
    return Compact.of(draw.normal(size=(rows, 8)).astype(np.float32)).floats()


def index_of(groups: list[np.ndarray]) -> Index:
    return Index(map(Compact.of, groups))


def brute_force(groups: list[np.ndarray], query: np.ndarray, prior: float | None) -> list[float]:
    scores = []
    for group in groups:
        centroid = group.mean(0) / np.linalg.norm(group.mean(0))
        near = np.sort(group @ query)[-8:].mean()
        raw = float(0.8 * near + 0.2 * (centroid @ query))
        evidence = 1 if prior is None else min(len(group), 8) / 8
        scores.append((prior or 0) + evidence * (raw - (prior or 0)))
    return scores


SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=30)
PRIORS = st.none() | st.floats(-1, 1, width=32)


@given(SIZES, st.integers(0, 2**32 - 1), PRIORS)
def test_finds_what_brute_force_finds(sizes, seed, prior):
    draw = np.random.default_rng(seed)
    groups, query = [unit(size, draw) for size in sizes], unit(1, draw)[0]
    scores = brute_force(groups, query, prior)
    found = index_of(groups).nearest(query, 5, prior)
    assert len(found) == min(5, len(sizes))
    np.testing.assert_allclose([got for _, got in found], sorted(scores)[::-1][:5], atol=1e-5)
    np.testing.assert_allclose([scores[at] for at, _ in found], [s for _, s in found], atol=1e-5)


@given(st.lists(st.tuples(SIZES, st.integers(0, 5)), max_size=6), st.integers(0, 2**32 - 1))
def test_an_index_that_changes_finds_what_a_new_one_finds(changes, seed):
    """Chunks of few rows, so that groups begin new ones and leave their ends unused."""
    draw = np.random.default_rng(seed)
    groups: dict[int, np.ndarray] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK_ROWS", 32)
        grown, number = Index(), 0
        for sizes, leaving in changes:
            gone = list(groups)[:leaving]
            added = [unit(size, draw) for size in sizes]
            before, query = grown, unit(1, draw)[0]
            expected = before.nearest(query, 3)
            grown = grown.changed(list(map(Compact.of, added)), gone)
            assert before.nearest(query, 3) == expected
            for each in added:
                groups[number] = each
                number += 1
            for each in gone:
                del groups[each]
            assert list(np.flatnonzero(grown.alive)) == list(groups)
            assert len(grown) == sum(map(len, groups.values()))
            found = grown.nearest(query, 3)
            scores = dict(zip(groups, brute_force(list(groups.values()), query, None), strict=True))
            best = sorted(scores.values())[::-1][:3]
            np.testing.assert_allclose([got for _, got in found], best, atol=1e-5)
            np.testing.assert_allclose([scores[at] for at, _ in found], best, atol=1e-5)


def test_one_group_is_scored_as_among_many():
    draw = np.random.default_rng(3)
    for size in (3, 12):
        group, query = unit(size, draw), unit(1, draw)[0]
        [(_, found)] = index_of([group]).nearest(query, 1, 0.3)
        assert abs(score(group, query, 0.3) - found) < 1e-6


def test_examples_beyond_the_nearest_eight_count_by_their_centroid_alone():
    like, unlike = np.eye(2, 8, dtype=np.float32)
    few = score(np.stack([like] * 8), like)
    many = score(np.stack([like] * 8 + [unlike] * 8), like)
    np.testing.assert_allclose([few, many], [1, 0.8 + 0.2 / np.sqrt(2)], atol=1e-6)


def test_few_examples_count_by_their_share_of_eight():
    like = np.eye(1, 8, dtype=np.float32)
    found = [score(np.repeat(like, size, axis=0), like[0], 0.2) for size in (1, 4, 8, 9)]
    np.testing.assert_allclose(found, [0.3, 0.6, 1, 1], atol=1e-6)


def test_an_empty_index_finds_nothing():
    assert Index([]).nearest(np.ones(8, np.float32), 5) == []
    assert len(Index([])) == 0
    row = np.eye(1, 8, dtype=np.float32)
    emptied = index_of([row]).changed([], [0])
    assert emptied.nearest(row[0], 5) == []


def test_opposite_examples_do_not_divide_by_zero():
    row = np.eye(1, 8, dtype=np.float32)
    [(_, found)] = index_of([np.concatenate([row, -row])]).nearest(row[0], 1)
    assert np.isfinite(found)


def themed(draw: np.random.Generator, groups: int, dimensions: int) -> list[np.ndarray]:
    """Groups, fifteen to a topic; later coordinates say less, as in a view."""
    spread = 1 / np.sqrt(1 + np.arange(dimensions))
    topics = np.repeat(draw.normal(size=(groups // 15, dimensions)), 15, axis=0)
    themes = topics + 0.6 * draw.normal(size=topics.shape)
    found = []
    for theme in themes:
        rows = (theme + 0.6 * draw.normal(size=(draw.integers(1, 30), dimensions))) * spread
        found.append(Compact.of(rows.astype(np.float32)).floats())
    return found


def test_of_many_groups_nearly_all_of_the_ten_best_are_found():
    draw = np.random.default_rng(7)
    groups, grown = themed(draw, 1500, 600), Index()
    for start in range(0, len(groups), 100):
        grown = grown.changed(list(map(Compact.of, groups[start : start + 100])), [])
    hits = []
    for group in draw.choice(len(groups), 40, replace=False):
        query = groups[group][0]
        scores = brute_force(groups, query, 0.2)
        found = grown.nearest(query, 16, 0.2)
        assert found[0][0] == np.argmax(scores)
        exact, said = [scores[at] for at, _ in found], [score for _, score in found]
        np.testing.assert_allclose(exact, said, atol=1e-3)
        hits.append(len({at for at, _ in found} & set(np.argsort(scores)[-10:])) / 10)
    assert np.mean(hits) >= 0.98


def test_a_large_group_that_its_prototypes_undersell_is_found_among_many_small_ones():
    """Nine of a hundred examples are near, and none of the outliers that stand for them is."""
    axes = np.eye(16, dtype=np.float32)
    usual, near = 0.2 * axes[0] + 0.98 * axes[1], 0.55 * axes[0] + 0.5 * axes[1] + 0.67 * axes[2]
    large = np.array([*[usual] * 84, *[near] * 9, *axes[3:10]])
    small = [
        np.array([cosine * axes[0] + np.sqrt(1 - cosine**2) * axes[10]] * 8, dtype=np.float32)
        for cosine in np.linspace(0.25, 0.29, 500)
    ]
    groups = [Compact.of(group).floats() for group in (*small, large)]
    [best, *_] = index_of(groups).nearest(axes[0], 16, 0.1)
    assert best[0] == 500 == np.argmax(brute_force(groups, axes[0], 0.1))


def test_prototypes_are_the_centroid_and_what_is_far_from_it():
    one, other = np.eye(2, 300, dtype=np.float32)
    found = index.prototypes(np.stack([*[one] * 20, other]))
    assert found.shape == (3, index.COARSE)
    assert len(index.prototypes(np.stack([one] * 200))) == index.PROTOTYPES
    assert found[0] @ one[: index.COARSE] > 0.99
    np.testing.assert_array_equal(found[1], other[: index.COARSE])
    assert index.prototypes(one[None]).shape == (1, index.COARSE)


@pytest.mark.parametrize("groups", [20, 100, 300])
def test_groups_of_many_rows_are_not_lost_whatever_their_number(groups):
    """More rows than are compared: what is left out is never the nearest."""
    draw = np.random.default_rng(groups)
    themes = draw.normal(size=(groups, 300))
    made = [
        Compact.of((theme + 0.3 * draw.normal(size=(200, 300))).astype(np.float32))
        for theme in themes
    ]
    found = Index(made)
    for group in (0, groups // 2, groups - 1):
        query = made[group].floats()[0]
        assert found.nearest(query, 16, 0.1)[0][0] == group
