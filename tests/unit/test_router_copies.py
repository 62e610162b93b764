"""Copies are found by first coordinates, and by all where these do not tell."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.routing.compact import Compact
from router.routing.copies import COPIED, _copied_among
from router.routing.index import COARSE


def drawn(draw, owner, since, original):
    """A route whose examples are as near to some originals as copies, and nearly so."""
    near = original[draw.integers(len(original), size=5)]
    rows = near + draw.choice([0, 0.2, 0.4, 0.6], (5, 1)) * draw.normal(size=near.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    compact = Compact.of(rows.astype(np.float32))
    return SimpleNamespace(rows=compact, owner=owner, since=since, specialist=f"{owner}/{since}")


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, COARSE, COARSE + 1, 3 * COARSE]))
def test_those_are_copies_that_are_near_to_an_older_row_of_somebody_else(seed, dimensions):
    draw = np.random.default_rng(seed)
    original = draw.normal(size=(12, dimensions))
    routes = [drawn(draw, f"owner-{number % 3}", float(number), original) for number in range(6)]
    found = _copied_among(routes, [np.arange(5)] * 6)
    for number, route in enumerate(routes):
        older = [each for each in routes[:number] if each.owner != route.owner]
        rows = np.concatenate([np.zeros((1, dimensions)), *(each.rows.floats() for each in older)])
        nearest = (route.rows.floats() @ rows.T).max(axis=1)
        told = np.abs(nearest - COPIED) > 1e-4  # Rounding may decide what is nearer than that.
        np.testing.assert_array_equal(found[number][told], (nearest >= COPIED)[told])
