"""What an engine measures of itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specialists.engine.means import Mean
from specialists.engine.pace import (
    LEAST_PROMPT,
    NOTICED_SECONDS,
    SLOWDOWN,
    TOGETHER,
    Pace,
    Steps,
)
from specialists.engine.reading import Part, Reading


def measured(start, slope, counts=(1, 2, 4, 8, 16, 32), times=100):
    steps, chance = Steps(), random.Random(1)
    for _ in range(times):
        for rows in counts:
            steps.add(rows, (start + slope * rows) * chance.uniform(0.9, 1.1))
    return steps


def test_a_line_is_found_under_noise_and_followed_when_it_moves():
    steps = measured(0.02, 0.005)
    assert steps.line == (pytest.approx(0.02, rel=0.3), pytest.approx(0.005, rel=0.1))
    for _ in range(400):
        steps.add(1, 0.061)
        steps.add(32, 0.092)
    assert steps.line == (pytest.approx(0.06, rel=0.05), pytest.approx(0.001, rel=0.05))


def test_what_many_rows_take_is_not_forgotten_while_there_are_few():
    steps = measured(0.02, 0.005)
    for _ in range(5000):
        steps.add(1, 0.025)
    assert steps.seconds(32) == pytest.approx(0.18, rel=0.1)
    assert steps.seconds(24) == pytest.approx(0.14, rel=0.1)


def test_rows_within_a_time_are_found_between_what_was_measured():
    steps = measured(0.02, 0.005)
    assert steps.within(0.1) == pytest.approx(16, abs=2)
    assert steps.within(0.0) == 0
    # So many were never too many.
    assert steps.within(1.0) is None
    assert Steps().within(1.0) is None


def test_what_was_not_measured_is_not_known():
    assert (Steps().line, Steps().seconds(1)) == ((0.0, 0.0), None)
    alike = measured(0.03, 0.0, counts=(4,))
    assert alike.line == (pytest.approx(0.03, rel=0.1), 0.0)
    assert alike.knows(3)
    assert not alike.knows(1)
    assert alike.seconds(1) == pytest.approx(0.03, rel=0.1)


def test_a_step_of_both_tells_what_is_not_known_yet():
    pace = Pace()
    pace.stepped(3, [Part(50)], 1.0)
    assert (pace.patience(3, strict=True), pace.prompt_tokens(1.0, 3)) == (None, None)
    pace.stepped(0, [Part(100)], 0.1)
    pace.stepped(4, [Part(20)], 0.08)
    assert pace.patience(4, strict=True) == pytest.approx(SLOWDOWN * 0.06, rel=1e-3)
    assert pace.prompt_tokens(0.1, 4) == pytest.approx(40, abs=1)
    # The decoding part is known now: another step tells of the prompt's.
    for _ in range(500):
        pace.stepped(4, [Part(20)], 0.10)
    assert pace.prompt_tokens(0.1, 4) == pytest.approx(20, abs=1)


def test_who_reads_has_patience_for_what_is_not_noticed_unless_it_is_strict():
    pace = Pace()
    pace.stepped(1, (), 0.004)
    assert pace.patience(1, strict=True) == pytest.approx(SLOWDOWN * 0.004)
    assert pace.patience(1, strict=False) == NOTICED_SECONDS
    pace.stepped(32, (), 0.1)
    assert pace.patience(32, strict=False) == pytest.approx(SLOWDOWN * 0.1)


def test_a_step_of_prompts_alone_is_short_and_they_are_not_put_off_for_ever():
    pace = Pace()
    pace.stepped(0, [Part(1000)], 0.1)
    tokens = pace.prompt_tokens(None, 0)
    assert tokens == pytest.approx(NOTICED_SECONDS / 0.0001, abs=LEAST_PROMPT / 2)
    assert tokens % LEAST_PROMPT == 0
    assert Pace().prompt_tokens(None, 0) is None
    slow = Pace()
    slow.stepped(0, [Part(100)], 100.0)
    slow.stepped(1, (), 0.1)
    assert slow.prompt_tokens(None, 0) == LEAST_PROMPT
    assert slow.prompt_tokens(0.11, 1, waited=TOGETHER - 1) == 0
    assert slow.prompt_tokens(0.11, 1, waited=TOGETHER) == TOGETHER


def read(reading, start, token, pair, parts, times=200):
    chance = random.Random(1)
    for _ in range(times):
        part = Part(*(chance.randint(1, most) for most in parts))
        exact = start + token * part.tokens + pair * part.pairs
        reading.add([part], exact * chance.uniform(0.95, 1.05))


def test_what_a_prompt_takes_grows_with_what_comes_before():
    reading = Reading()
    read(reading, 0.002, 1e-4, 2e-7, (200, 4000))
    assert reading.seconds([Part(100)]) == pytest.approx(0.013, rel=0.15)
    assert reading.seconds([Part(100, 2000)]) == pytest.approx(0.053, rel=0.1)
    assert reading.seconds([Part(50, 2000), Part(50)]) == pytest.approx(0.0325, rel=0.1)
    for before in 0, 2000, 8000:
        tokens = reading.within(0.1, before)
        assert reading.seconds([Part(tokens, before)]) == pytest.approx(0.1)
    assert reading.within(0.0, 10) <= 0
    read(reading, 0.0, 3e-4, 0.0, (200, 4000), times=600)
    assert reading.seconds([Part(100, 2000)]) == pytest.approx(0.03, rel=0.1)


def test_prompts_that_are_all_alike_tell_what_their_tokens_take():
    reading = Reading()
    for _ in range(50):
        reading.add([Part(100)], 0.02)
    assert reading.seconds([Part(200)]) == pytest.approx(0.04, rel=0.05)


@given(
    st.lists(
        st.tuples(st.integers(1, 4000), st.integers(0, 100_000), st.floats(1e-6, 100)), min_size=1
    )
)
def test_whatever_is_measured_more_takes_no_less(measured):
    reading = Reading()
    for tokens, before, seconds in measured:
        reading.add([Part(tokens, before)], seconds)
    few = reading.seconds([Part(10, 10)])
    assert 0 < few < reading.seconds([Part(20, 10)])
    assert few <= reading.seconds([Part(10, 20)])
    assert reading.within(1.0, 10) >= reading.within(1.0, 20) >= 0 or few > 1


def test_a_mean_begins_with_what_is_assumed_and_ends_with_what_is_measured():
    mean = Mean(5.0)
    assert mean.value == 5.0
    mean.add(1.0)
    assert mean.value == 1.0
    mean.add(3.0)
    assert mean.value == pytest.approx(2.0, abs=0.02)


def test_a_pace_tells_what_was_told_to_it():
    pace = Pace()
    pace.stepped(1, (), 0.5)
    pace.loaded(0.25)
    pace.answered(12)
    assert (pace.step_seconds, pace.load_seconds, pace.answer_tokens) == ((0.5, 0.0), 0.25, 12)
