"""Rows that nobody waits for: they fill what is free, and give way to those that somebody does."""

from dataclasses import replace

import pytest
from engines import engine, run, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shares import FOUR, paced
from tiny import tiny_base

from specialists.engine.scheduler import ABSENT_STEPS

EIGHT = replace(FOUR, max_rows=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=2048)


def absent(made, seed, max_tokens=200, tenant="batch"):
    return sequence(made, [seed] * 20, tenant=tenant, absent=True, max_tokens=max_tokens)[0]


def steps(made, count):
    for _ in range(count):
        made.step()
        made.check_integrity()


def test_they_stand_still_in_most_steps_beside_a_row_that_somebody_waits_for(base):
    made = engine(base, {}, EIGHT)
    rows = [absent(made, seed) for seed in range(4)]
    steps(made, 20)
    alone = [row.generated for row in rows]
    assert min(alone) >= 15
    awaited, _ = sequence(made, [9] * 20, max_tokens=200)
    steps(made, 10 * ABSENT_STEPS)
    assert awaited.generated >= 10 * ABSENT_STEPS - 1
    moved = [row.generated - before for row, before in zip(rows, alone, strict=True)]
    assert 0 < max(moved) <= 10
    made.abort(awaited)
    before = [row.generated for row in rows]
    steps(made, 10)
    assert all(row.generated - was >= 9 for row, was in zip(rows, before, strict=True))
    made.close()


def test_many_that_somebody_waits_for_are_not_held_back_for_few_of_them(base):
    made = paced(engine(base, {}, replace(FOUR, max_rows=32)), 0.015, 0.005, 0.001)
    awaited = [sequence(made, [seed], max_tokens=200)[0] for seed in range(16)]
    steps(made, 20)
    late = [absent(made, seed) for seed in range(16)]
    # One after the other their prompts are read first.
    while any(row.generated == 0 for row in late):
        steps(made, 1)
    before = [row.generated for row in awaited], sum(row.generated for row in late)
    steps(made, 5 * ABSENT_STEPS)
    assert [row.generated - was for row, was in zip(awaited, before[0], strict=True)] == [20] * 16
    # In each step for both, as many as make it no longer than 1.6 times: 15 + 16 × 5 ms.
    joined = int(0.6 * (15 + 16 * 5) / 5)
    assert sum(row.generated for row in late) - before[1] == 5 * joined
    made.close()


def test_a_prompt_that_somebody_waits_for_is_read_as_if_they_were_not_there(base):
    made = paced(engine(base, {}, replace(EIGHT, step_tokens=512)), 0.04, 0.0, 0.001)
    for seed in range(4):
        absent(made, seed)
    steps(made, 3)
    long, _ = sequence(made, list(range(200)), max_tokens=1)
    while long.computed == 0:
        made.step()
    # Beside readers it would be 24 tokens, by the pace that is assumed.
    assert long.computed >= 64
    made.close()


def test_their_prompts_come_after_all_others(base):
    made = paced(engine(base, {}, replace(EIGHT, step_tokens=512)), 0.01, 0.0, 0.001)
    late = sequence(made, list(range(300)), tenant="batch", absent=True, max_tokens=1)[0]
    first = [sequence(made, list(range(seed, 300)), max_tokens=1)[0] for seed in (1, 2)]
    while any(row.computed < 298 and not row.generated for row in first):
        before = late.computed
        made.step()
        made.check_integrity()
        assert late.computed == before or made._scheduler._step % ABSENT_STEPS == 0
    run(made)
    assert late.generated == 1
    made.close()


def test_who_waits_takes_their_places_and_they_come_back_to_the_same_answer(base):
    made = engine(base, {}, FOUR)
    expected = [sequence(made, [seed] * 20, max_tokens=40)[0] for seed in range(4)]
    run(made)
    rows = [absent(made, seed, max_tokens=40) for seed in range(4)]
    steps(made, 10)
    awaited = [sequence(made, [seed] * 20, max_tokens=30)[0] for seed in (7, 8, 9)]
    steps(made, 1)
    assert all(row in made._scheduler.running for row in awaited)
    assert sum(row in made._scheduler.running for row in rows) == 1
    run(made)
    assert [row.tokens for row in rows] == [row.tokens for row in expected]
    made.close()


def test_who_waits_gets_the_pages_that_they_hold(base):
    made = engine(base, {}, replace(FOUR, kv_bytes=14 * 4096))
    later = [absent(made, seed, max_tokens=60) for seed in (2, 3)]
    steps(made, 30)
    awaited = sequence(made, [1] * 20, max_tokens=120)[0]
    steps(made, 1)
    while awaited.generated < 120:
        made.step()
        made.check_integrity()
        assert awaited in made._scheduler.running or awaited.generated == 120
    run(made)
    assert [row.generated for row in later] == [60, 60]
    made.close()


def test_they_take_nobodys_place(base):
    made = engine(base, {}, FOUR)
    awaited = [sequence(made, [seed] * 20, max_tokens=60)[0] for seed in range(4)]
    steps(made, 3)
    row = absent(made, 9)
    steps(made, 3)
    assert made._scheduler.running == awaited
    assert row in made._scheduler.waiting
    assert made._scheduler.next_rows(9) == [row]
    queued, _ = sequence(made, [5] * 20, tenant="late", max_tokens=60)
    assert made._scheduler.next_rows(9) == [queued, row]
    made.close()


def test_owners_share_what_is_left(base):
    made = engine(base, {}, FOUR)
    many = [absent(made, seed, tenant="many") for seed in range(8)]
    steps(made, 3)
    few = absent(made, 9, tenant="few")
    steps(made, 2)
    assert few in made._scheduler.running
    assert sum(row in made._scheduler.running for row in many) == 3
    made.close()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 60), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None, max_examples=25)
def test_all_come_to_their_end_whoever_waits(base, asked):
    made = engine(base, {}, replace(FOUR, kv_bytes=40 * 4096))
    rows = []
    for tenant, is_absent, length, pause in asked:
        given_ = {"tenant": f"{tenant}{is_absent}", "absent": is_absent, "max_tokens": 20}
        rows.append(sequence(made, list(range(length)), **given_)[0])
        steps(made, pause)
    run(made)
    assert all(row.generated == 20 for row in rows)
    made.close()
