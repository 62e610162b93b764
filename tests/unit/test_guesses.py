"""What guesses cost, and so which are worth it."""

from math import inf

import pytest

from specialists.engine.guesses import ASSUMED, CHECKED, KNOWN, SLOWDOWN, SURE, Guesses
from specialists.engine.pace import Pace
from specialists.engine.reading import Part


def measured(rows, seconds, guessed, more, times=3000):
    """Guesses after steps of so many rows, of which some more tokens took so much more time."""
    guesses = Guesses()
    for _ in range(times):
        made = guessed if guesses.room(rows) else 0
        guesses.stepped(rows, made, seconds + (more if made else 0.0))
    return guesses


def test_a_guess_is_worth_it_where_as_much_time_gives_fewer_tokens_otherwise():
    room = measured(1, 0.011, 3, 3 * 0.002).room(1)
    assert room.chance == pytest.approx(0.002 / 0.011, rel=0.01)
    assert room.tokens == inf
    many = measured(8, 0.018, 4, 4 * 0.001).room(8)
    assert many.chance == pytest.approx(8 * 0.001 / 0.018, rel=0.01)
    # Others go on no slower than so.
    assert many.tokens == pytest.approx((SLOWDOWN - 1) * 0.018 / 0.001, rel=0.01)


def test_steps_without_guesses_come_first_and_again_and_again():
    guesses, made = Guesses(), []
    for _ in range(100):
        made.append(guesses.room(4) is not None)
        guesses.stepped(4, int(made[-1]), 0.01)
    assert made == [*[False] * KNOWN, *([*[True] * CHECKED, False] * 6)][:100]
    assert guesses.room(5) is None


def test_what_a_step_takes_without_is_followed_when_it_changes():
    guesses = measured(4, 0.010, 2, 0.001)
    for _ in range(3000):
        made = 2 if guesses.room(4) else 0
        guesses.stepped(4, made, 0.020 + 0.001 * made)
    assert guesses._shares[2].value == pytest.approx(4 * 0.001 / 0.020, rel=0.05)


def test_one_step_that_was_held_up_does_not_end_all_guessing():
    guesses = measured(4, 0.010, 0, 0.0, times=10)
    assert guesses.room(4).chance == ASSUMED
    guesses.stepped(4, 1, 3.0)
    assert guesses.room(4).chance < 0.6
    dear = measured(4, 0.010, 1, 3.0)
    # What is nearly sure is tried nevertheless.
    assert dear.room(4).chance == SURE


def test_a_step_that_took_no_time_says_nothing():
    guesses = measured(1, 0.0, 3, 0.0, times=10)
    guesses.stepped(1, 3, 0.5)
    assert guesses.room(1).chance == ASSUMED


def test_the_pace_keeps_steps_with_guesses_apart():
    pace = Pace()
    for _ in range(50):
        pace.stepped(1, (), 0.010)
        pace.stepped(1, (), 0.020, guessed=3)
        pace.stepped(0, [Part(10)], 0.5)
    assert pace._steps.seconds(1) == pytest.approx(0.010)
    assert pace.guesses.room(1).chance == pytest.approx(1 / 3, abs=0.02)
