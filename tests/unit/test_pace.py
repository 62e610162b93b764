"""What an engine measures of itself."""

import random

import pytest

from specialists.engine.pace import LEAST_PROMPT, NOTICED_SECONDS, SLOWDOWN, Mean, Pace, Steps


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
    pace.stepped(3, 50, 1.0)
    assert (pace.patience(3, strict=True), pace.prompt_tokens(1.0, 3)) == (None, None)
    pace.stepped(0, 100, 0.1)
    pace.stepped(4, 20, 0.08)
    assert pace.patience(4, strict=True) == pytest.approx(SLOWDOWN * 0.06)
    assert pace.prompt_tokens(0.1, 4) == pytest.approx(40, abs=1)
    # The decoding part is known now: another step tells of the prompt's.
    for _ in range(500):
        pace.stepped(4, 20, 0.10)
    assert pace.prompt_tokens(0.1, 4) == pytest.approx(20, abs=1)


def test_who_reads_has_patience_for_what_is_not_noticed_unless_it_is_strict():
    pace = Pace()
    pace.stepped(1, 0, 0.004)
    assert pace.patience(1, strict=True) == pytest.approx(SLOWDOWN * 0.004)
    assert pace.patience(1, strict=False) == NOTICED_SECONDS
    pace.stepped(32, 0, 0.1)
    assert pace.patience(32, strict=False) == pytest.approx(SLOWDOWN * 0.1)


def test_a_step_of_prompts_alone_is_short_and_every_step_moves_them_on():
    pace = Pace()
    pace.stepped(0, 1000, 0.1)
    assert pace.prompt_tokens(None, 0) == int(NOTICED_SECONDS / 0.0001)
    assert Pace().prompt_tokens(None, 0) is None
    slow = Pace()
    slow.stepped(0, 100, 100.0)
    slow.stepped(1, 0, 0.1)
    assert slow.prompt_tokens(None, 0) == LEAST_PROMPT
    assert slow.prompt_tokens(0.11, 1) == 1


def test_a_mean_begins_with_what_is_assumed_and_ends_with_what_is_measured():
    mean = Mean(5.0)
    assert mean.value == 5.0
    mean.add(1.0)
    assert mean.value == 1.0
    mean.add(3.0)
    assert mean.value == pytest.approx(2.0, abs=0.02)


def test_a_pace_tells_what_was_told_to_it():
    pace = Pace()
    pace.stepped(1, 0, 0.5)
    pace.loaded(0.25)
    pace.answered(12)
    assert (pace.step_seconds, pace.load_seconds, pace.answer_tokens) == ((0.5, 0.0), 0.25, 12)
