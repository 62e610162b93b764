"""Copies are found by first coordinates, and by all where these do not tell; of who matters."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from router.routing import policy
from router.routing.compact import Compact
from router.routing.copies import COPIED, Found, Originals
from router.routing.index import COARSE, score
from router.routing.policy import LEADING, SURE, TIED
from router.routing.route import Route

PRIOR = 0.2
STRENGTH = 31.1
"""Log-odds for each unit of nearness; what `odds.py` gives those without a probe."""


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def drawn(draw, owner, since, original, count=5):
    """A route whose examples are as near to some originals as copies, and nearly so."""
    near = original[draw.integers(len(original), size=count)]
    rows = near + draw.choice([0, 0.2, 0.4, 0.6], (count, 1)) * draw.normal(size=near.shape)
    compact = Compact.of(unit(rows))
    return Route(f"{owner}/{since}", 1, f"sha256:{since}", compact, float(since))


def found_by(query, routes):
    return [Found(each, score(each.vectors, query, PRIOR), each.rows) for each in routes]


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, COARSE, COARSE + 1, 3 * COARSE]))
def test_those_are_copies_that_are_near_to_an_older_row_of_somebody_else(seed, dimensions):
    draw = np.random.default_rng(seed)
    original = draw.normal(size=(12, dimensions))
    routes = [drawn(draw, f"owner-{number % 3}", number, original) for number in range(6)]
    query = unit(draw.normal(size=dimensions))
    originals = Originals(found_by(query, draw.permutation(routes)), query, PRIOR)
    for number, route in enumerate(routes):
        older = [each for each in routes[:number] if each.owner != route.owner]
        rows = np.concatenate([np.zeros((1, dimensions)), *(each.rows.floats() for each in older)])
        nearest = (route.rows.floats() @ rows.T).max(axis=1)
        own = originals.of(Found(route, 0.0, route.rows))
        kept = set() if own is None else {row.tobytes() for row in own.rows.values}
        for row, near in zip(route.rows.values, nearest, strict=True):
            if abs(near - COPIED) > 1e-4:  # Rounding may decide what is nearer than that.
                assert (row.tobytes() in kept) == (near < COPIED)


@example(seed=0, count=13, tilt=0.0)  # two that tie, and stand in the order of their names
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 16), tilt=st.floats(0, 60))
def test_who_is_far_behind_need_not_be_looked_through(seed, count, tilt):
    """What is ranked is as if all had been looked through, but for what hardly anybody asks."""
    draw = np.random.default_rng(seed)
    original = draw.normal(size=(3, 64))
    routes = [
        drawn(draw, f"owner-{number % 7}", number, original, int(draw.integers(1, 12)))
        for number in range(count)
    ]
    query = unit(original[0] + 0.3 * draw.normal(size=64))
    favour = {each: tilt * draw.random() for each in routes}
    found = found_by(query, routes)

    def odds(one):
        return STRENGTH * (one.near - PRIOR) - favour[one.route]

    ranked = policy._ranked(found, odds, lambda: Originals(found, query, PRIOR))
    originals = Originals(found, query, PRIOR)
    every = {each.route: originals.of(each) for each in found}
    for at, (likely, one) in enumerate(ranked):
        own = every[one.route]
        if at < LEADING or likely > ranked[0][0] - SURE:
            assert own is not None
            np.testing.assert_array_equal(one.rows.values, own.rows.values)
            assert likely == odds(own)
    order = [round(likely, TIED) for likely, _ in ranked]
    assert order == sorted(order, reverse=True)
    # The oldest of all has copied nobody: where all but it are copies, it is left.
    assert any(one.route is routes[0] for _, one in ranked)
    gone = {each for each, own in every.items() if own is None}
    assert not gone & {one.route for _, one in ranked[:LEADING]}
