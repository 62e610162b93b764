"""What an engine measures of itself."""

import random

import pytest

from specialists.engine.pace import Line, Mean, Pace


def test_a_line_is_found_under_noise_and_followed_when_it_moves():
    chance, line = random.Random(1), Line()
    for start, slope in (0.02, 0.005), (0.06, 0.001):
        for _ in range(800):
            rows = chance.randint(1, 32)
            line.add(rows, (start + slope * rows) * chance.uniform(0.9, 1.1))
        assert line.start == pytest.approx(start, rel=0.3)
        assert line.slope == pytest.approx(slope, rel=0.2)


def test_where_steps_are_alike_nothing_is_put_down_to_rows():
    line = Line()
    for _ in range(100):
        line.add(4, 0.03)
    assert line.slope == pytest.approx(0, abs=1e-9)
    assert line.start == pytest.approx(0.03)


def test_nothing_is_ever_less_than_nothing():
    line = Line()
    for rows, seconds in (1, 0.9), (30, 0.1), (60, 0.0):
        line.add(rows, seconds)
    assert (line.slope, line.start >= 0) == (0.0, True)
    assert (Line().slope, Line().start) == (0.0, 0.0)


def test_a_mean_begins_with_what_is_assumed_and_ends_with_what_is_measured():
    mean = Mean(5.0)
    assert mean.value == 5.0
    mean.add(1.0)
    assert mean.value == 1.0
    mean.add(3.0)
    assert mean.value == pytest.approx(2.0, abs=0.01)


def test_a_pace_tells_what_was_told_to_it():
    pace = Pace()
    pace.stepped(1, 0.5)
    pace.loaded(0.25)
    pace.answered(12)
    assert (pace.step_seconds, pace.load_seconds, pace.answer_tokens) == ((0.5, 0.0), 0.25, 12)
