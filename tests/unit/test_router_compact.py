import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.routing.compact import PEAK, Compact, Halves


@given(st.integers(1, 40), st.integers(1, 900), st.integers(0, 2**32 - 1))
def test_rows_stay_unit_rows_and_near_what_they_were(rows, dimensions, seed):
    draw = np.random.default_rng(seed)
    exact = draw.normal(size=(rows, dimensions)).astype(np.float32)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = Compact.of(exact)
    floats = found.floats()
    assert len(found) == rows
    assert floats.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(floats, axis=1), 1, atol=1e-5)
    assert np.einsum("ij,ij->i", floats, exact).min() > 0.9995
    # What was made compact once stays as it is.
    np.testing.assert_array_equal(Compact.of(floats).values, found.values)
    np.testing.assert_array_equal(Compact.held(found.values).scales, found.scales)
    np.testing.assert_array_equal(found.floats(3), floats[:, :3])
    for columns in (1, dimensions):
        query = draw.normal(size=columns).astype(np.float32)
        query /= np.linalg.norm(query)
        expected = floats[:, :columns] @ query
        # Each number of the query is off by half of its lower byte's unit at most.
        off = np.abs(query).max() / (2 * PEAK) ** 2 * np.abs(floats[:, :columns]).sum(axis=1)
        products = found.first(columns).dot(Halves.of(query))
        assert (np.abs(products - expected) <= off + 1e-6).all()
        more = np.abs(query).max() * draw.uniform(-1, 1, 3).astype(np.float32)
        longer = Halves.of(np.append(query, more))
        np.testing.assert_array_equal(found.first(columns).dot(longer), products)
        places = draw.integers(rows, size=2 * rows)
        np.testing.assert_array_equal(
            found.first(columns).some(places).floats(), floats[places, :columns]
        )


def test_rows_are_put_together_and_taken_out():
    draw = np.random.default_rng(0)
    one, other = (Compact.of(draw.normal(size=(3, 8)).astype(np.float32)) for _ in range(2))
    both = Compact.together([one, other])
    np.testing.assert_array_equal(both.floats(), np.concatenate([one.floats(), other.floats()]))
    left = both.without(np.array([1, 3, 4, 5]))
    np.testing.assert_array_equal(left.floats(), one.floats()[[0, 2]])


def test_of_no_rows_there_are_no_products():
    one = Compact.of(np.ones((1, 8), np.float32)).first(5)
    none = one.some(np.array([], dtype=np.intp))
    assert none.values.shape == (0, 5)
    assert none.dot(Halves.of(np.ones(5, np.float32))).shape == (0,)


def test_a_row_of_zeros_stays_one():
    assert not Compact.of(np.zeros((1, 8), np.float32)).floats().any()


def test_a_query_of_zeros_has_no_part_in_any_row():
    rows = Compact.of(np.ones((2, 8), np.float32))
    np.testing.assert_array_equal(rows.dot(Halves.of(np.zeros(8, np.float32))), [0, 0])
