"""A tenant that floods the engine does not starve another; prompts do not hold up who reads."""

from collections import Counter
from dataclasses import replace

import pytest
from engines import SMALL, engine, run, sequence
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_base

from specialists.engine.engine import EngineOptions
from specialists.engine.pace import LEAST_PROMPT, SLOWDOWN, TOGETHER, Pace
from specialists.engine.places import Places
from specialists.engine.reading import Part
from specialists.engine.shares import SAVED, Shares, shared

FOUR = EngineOptions(weights="float32", kv_bytes=1 << 20, max_rows=4, step_tokens=256)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=2048)


def tenants(rows):
    return Counter(row.tenant for row in rows)


def started(row):
    return row.computed > 0


def paced(made, start, slope, prompt):
    """An engine whose steps are said to take as long as these; what it measures is passed over."""
    pace = made._pace
    for rows in (1, 8, 16, 32) * 200:
        pace.stepped(rows, (), start + slope * rows)
    pace.stepped(0, [Part(10)], 10 * prompt)
    pace.stepped = lambda *_: None
    return made


def test_who_asks_little_is_let_in_at_once_though_all_places_are_taken(base):
    made = engine(base, {}, FOUR)
    flood = [sequence(made, [5] * 20, tenant="flood", max_tokens=200)[0] for _ in range(20)]
    for _ in range(5):
        made.step()
    light, emissions = sequence(made, [6] * 20, tenant="light", max_tokens=5)
    made.step()
    assert started(light)
    assert tenants(made._scheduler.running) == {"flood": 3, "light": 1}
    for _ in range(10):
        made.step()
        made.check_integrity()
    assert emissions[-1].finish is not None
    run(made)
    assert all(row.generated == 200 for row in flood)
    made.close()


def test_pages_are_found_for_who_asks_little(base):
    made = engine(base, {}, replace(FOUR, kv_bytes=14 * 4096))
    for seed in range(3):
        sequence(made, [seed] * 50, tenant="flood", max_tokens=20)
    made.step()
    light, _ = sequence(made, [9] * 40, tenant="light", max_tokens=5)
    made.step()
    made.check_integrity()
    assert started(light)
    run(made)
    made.close()


def test_two_that_flood_are_served_alike(base):
    made = engine(base, {}, FOUR)
    many = [sequence(made, [5] * 20, tenant="many", max_tokens=30)[0] for _ in range(30)]
    few = [sequence(made, [6] * 20, tenant="few", max_tokens=30)[0] for _ in range(10)]
    while any(row in made._scheduler.waiting or row in made._scheduler.running for row in few):
        made.step()
        made.check_integrity()
    served = sum(row.generated for row in many)
    # While there were rows of both each had half of the places.
    assert served == pytest.approx(300, rel=0.35)
    run(made)
    made.close()


def test_little_is_saved_up_in_a_pause():
    shares = Shares()
    shares.arrives("a", set())
    shares.count("a", 10_000)
    shares.arrives("b", {"a"})
    assert shares.served("b") == 10_000 - SAVED
    shares.count("b", 5)
    shares.arrives("b", {"a"})
    assert shares.served("b") == 10_005 - SAVED
    shares.count("b", 9000)
    shares.arrives("b", {"a"})
    assert shares.served("b") == 19_005 - SAVED
    # What was computed while nobody else was there is owed to nobody.
    shares.arrives("b", set())
    shares.arrives("a", {"b"})
    assert shares.served("a") == shares.served("b") == 0


def test_one_tenant_alone_is_served_in_the_order_of_its_requests(base):
    made = engine(base, {}, FOUR)
    rows = [sequence(made, [number] * 10, max_tokens=4)[0] for number in range(9)]
    assert made._scheduler.next_rows(9) == rows
    made.step()
    assert [started(row) for row in rows] == [True] * 4 + [False] * 5
    run(made)
    made.close()


def test_rows_of_many_do_not_slow_those_of_few(base):
    """A step of 32 rows takes nine times as long as one of one: the light tenant's stay short."""
    made = paced(engine(base, {}, replace(FOUR, max_rows=32)), 0.015, 0.005, 0.001)
    for seed in range(31):
        sequence(made, [seed], tenant="flood", max_tokens=60)
    light, _ = sequence(made, [40], tenant="light", max_tokens=60)
    made.step()
    before = Counter({row.id: 0 for row in made._scheduler.running})
    for _ in range(20):
        progress = {id(row): row.generated for row in made._scheduler.running}
        made.step()
        moved = [row for row in made._scheduler.running if row.generated > progress[id(row)]]
        assert light in moved
        assert 0.015 + 0.005 * len(moved) <= SLOWDOWN * (0.015 + 0.005)
    # All of the others move on too, in turns.
    flood = [row.generated for row in made._scheduler.running if row is not light]
    assert min(flood) >= 1
    assert before
    run(made)
    made.close()


def test_a_long_prompt_takes_little_of_a_step_beside_who_reads(base):
    made = paced(engine(base, {}, replace(FOUR, step_tokens=512)), 0.04, 0.0, 0.001)
    readers = [sequence(made, [seed], max_tokens=200)[0] for seed in (1, 2, 3)]
    made.step()
    made.step()
    long, _ = sequence(made, list(range(200)) * 3, max_tokens=1)
    made.step()
    # What 40 ms more take makes so many of its tokens.
    assert long.computed == pytest.approx(40 * (SLOWDOWN - 1), abs=2)
    for row in readers:
        made.abort(row)
    made.step()
    assert long.computed >= 40 * (SLOWDOWN - 1) - 2 + LEAST_PROMPT
    made.close()


def prompted(base, start, token, length):
    """An engine where somebody reads an answer while a prompt of that length comes, and its row."""
    made = paced(engine(base, {}, FOUR), start, 0.0, token)
    sequence(made, [1], max_tokens=200)
    made.step()
    made.step()
    long, _ = sequence(made, list(range(length)), max_tokens=1)
    return made, long


def test_a_prompt_moves_on_even_if_steps_are_short(base):
    made, long = prompted(base, 0.0001, 0.01, 200)
    made.step()
    # 40 ms of 10 each.
    assert long.computed in (3, 4)
    for _ in range(20):
        made.step()
    assert long.computed >= 63
    made.close()


def test_of_a_prompt_that_fits_no_step_some_is_read_now_and_then(base):
    made, long = prompted(base, 0.01, 0.1, 100)
    read = []
    for _ in range(2 * TOGETHER):
        before = long.computed
        made.step()
        read.append(long.computed - before)
    assert read == 2 * [TOGETHER, *[0] * (TOGETHER - 1)]
    made.close()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 40))
def test_places_are_shared_and_none_is_left_out(counts, places):
    class Row:
        def __init__(self, tenant):
            self.tenant = tenant

    rows = [Row(tenant) for tenant, count in enumerate(counts) for _ in range(count)]
    found = tenants(shared(rows, places))
    assert set(found) == set(range(len(counts)))
    assert sum(found.values()) <= max(places, len(counts))
    for one in found:
        for other in found:
            # Nobody has fewer than another but by wanting fewer.
            assert found[one] >= found[other] - 1 or found[one] == counts[one]


def test_what_is_not_measured_yet_limits_nothing():
    pace = Pace()
    assert (pace.prompt_tokens(3, 3), pace.rows_beside(1)) == (None, None)
    pace.stepped(1, (), 0.1)
    assert pace.prompt_tokens(0, 0) is None


def test_everybody_comes_to_an_end(base):
    made = engine(base, {}, replace(SMALL, max_rows=3))
    rows = []
    for number in range(40):
        tenant = "abc"[number * number % 3]
        rows.append(sequence(made, [number] * (number % 50 + 1), tenant=tenant, max_tokens=9)[0])
        made.step()
        made.check_integrity()
    run(made)
    assert all(row.generated for row in rows)
    made.close()


def test_who_floods_shuts_nobody_out():
    places = Places(8)
    with places.taken("flood", 8):
        assert not places.room("flood", 1)
        assert places.room("light", 4)
        assert not places.room("light", 5)
        with places.taken("light", 4):
            assert not places.room("light", 1)
            assert places.room("other", 2)
    assert places.room("flood", 8)
    assert not places.room("flood", 9)
