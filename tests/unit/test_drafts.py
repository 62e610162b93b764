"""Guessed tokens: an answer is the same with them, to the last bit; only its steps are fewer."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from engines import engine, make_adapters, run, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_base

from specialists.engine import drafts as drafting
from specialists.engine import habits as habitual
from specialists.engine.engine import EngineOptions
from specialists.engine.guesses import Room
from specialists.engine.habits import Expected, Habits

WITH = EngineOptions(weights="int8", kv_bytes=1 << 20, step_tokens=64)
WITHOUT = replace(WITH, drafts=0)
ROOM = Room(0.0, 1000.0)
PROMPT = [5, 6, 7, 8] * 3
"""A network of random weights soon says the same again: its guesses come true."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=2048)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), {name: {} for name in "01"})


def guessing(base, adapters, room=ROOM, options=WITH):
    """An engine that always has room for guesses, whatever its steps take."""
    made = engine(base, adapters, options)
    made._pace.guesses.room = lambda rows: room
    return made


def watched(made, asked):
    """The runs of each step that it takes to answer."""
    seen, forward = [], made._network.forward
    made._network.forward = lambda runs, slots: seen.append(runs) or forward(runs, slots)
    answers(made, asked)
    made._network.forward = forward
    return seen


@pytest.fixture
def made(base, adapters):
    made = guessing(base, adapters)
    yield made
    made.close()


@pytest.fixture(scope="module")
def plain(base, adapters):
    made = guessing(base, adapters, options=WITHOUT)
    yield made
    made.close()


def answers(made, asked):
    """Of all that is asked at once, what was said."""
    rows = [sequence(made, **each)[1] for each in asked]
    run(made)
    return [[(each.choice, each.text, each.finish) for each in emissions] for emissions in rows]


def steps_of(made, asked):
    before = made.stats()["steps_total"]
    found = answers(made, asked)
    return made.stats()["steps_total"] - before, found


SHAPES = [
    {},
    {"temperature": 1.0, "seed": 7},
    {"temperature": 0.7, "seed": 1, "top_p": 0.9},
    {"frequency_penalty": 1.5, "repetition_penalty": 1.2},
    {"logprobs": 3},
    {"stop": ("a",)},
    {"logit_bias": ((9, 4.0), (11, 4.0))},
]


@pytest.mark.parametrize("params", SHAPES, ids=str)
@pytest.mark.parametrize("adapter", [None, "1"])
def test_an_answer_is_the_same_in_fewer_steps(made, plain, params, adapter):
    asked = [{"prompt": PROMPT, "adapter": adapter, "max_tokens": 120} | params]
    for _ in range(2):
        expected, wanted = steps_of(plain, asked)
        steps, found = steps_of(made, asked)
        assert found == wanted
    # The second time it is known by heart.
    if len(wanted[0]) > 8:
        assert steps < 0.7 * expected
        assert made.stats()["accepted_tokens_total"] > 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prompt": st.lists(st.integers(3, 12), min_size=1, max_size=40),
                "adapter": st.sampled_from([None, "0", "1"]),
                "tenant": st.sampled_from([None, "ada", "bob"]),
                "absent": st.booleans(),
                "max_tokens": st.integers(1, 40),
                "seed": st.integers(0, 3),
                "temperature": st.sampled_from([0.0, 0.8]),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_rows_of_all_kinds_get_what_they_get_without(base, adapters, asked):
    made, plain = guessing(base, adapters), guessing(base, adapters, options=WITHOUT)
    for _ in range(2):
        assert answers(made, asked) == answers(plain, asked)
    made.close()
    plain.close()


SCHEMA = {
    "type": "object",
    "properties": {"quick": {"enum": ["yes", "no"]}, "lazy": {"type": "integer", "maximum": 99}},
    "required": ["quick", "lazy"],
    "additionalProperties": False,
}


def asked_by(made, schema):
    grammar = made.grammars.of_schema(json.dumps(schema))
    return [{"prompt": PROMPT, "grammar": grammar, "max_tokens": 90}]


@pytest.mark.parametrize("seed", range(4))
def test_a_schema_is_kept_to_and_what_it_leaves_no_choice_is_not_waited_for(
    base, adapters, plain, seed, monkeypatch
):
    monkeypatch.setattr(Habits, "after", lambda *_: None)
    made = guessing(base, adapters)
    asked = {"temperature": 1.0, "seed": seed}
    expected, wanted = steps_of(plain, [asked | each for each in asked_by(plain, SCHEMA)])
    steps, found = steps_of(made, [asked | each for each in asked_by(made, SCHEMA)])
    assert found == wanted
    assert steps < expected
    json.loads("".join(text for _, text, _ in found[0]))
    made.close()


def test_nothing_is_guessed_that_a_grammar_bars(made):
    seen, forward = [], made._network.forward

    def fitting(runs, slots):
        seen.extend(
            run.row.grammar.copy().fitting([*run.draft]) == len(run.draft)
            for run in runs
            if run.draft
        )
        return forward(runs, slots)

    made._network.forward = fitting
    for letters in ("ab", "ac", "bc"):
        shape = {"type": "string", "pattern": f"^[{letters}]{{60}}$"}
        answers(made, [each | {"temperature": 1.0} for each in asked_by(made, shape)])
    assert seen
    assert all(seen)


def test_an_answer_ends_where_its_tokens_or_the_context_do(base, adapters):
    made = guessing(base, adapters, options=replace(WITH, max_context=60))
    for most in (1, 2, 3, 5, 20, 400):
        for _ in range(2):
            row, emissions = sequence(made, PROMPT, max_tokens=most)
            run(made)
            assert len(emissions) == min(most, 60 - len(PROMPT))
            assert row.generated == len(emissions)
    made.close()


def test_what_came_true_is_not_computed_again_and_what_cannot_come_is_not_guessed(made):
    answers(made, [{"prompt": PROMPT, "max_tokens": 60}])
    first, *others = watched(made, [{"prompt": PROMPT, "max_tokens": 60}])
    assert first[0].count > 1
    assert all(run.count == 1 for runs in others for run in runs)
    assert not any(
        run.draft for runs in watched(made, [{"prompt": PROMPT, "max_tokens": 2}]) for run in runs
    )


def foretold(made, asked, answer):
    """Steps that an answer takes which somebody foretold, what it is, and how much of it came."""
    row, emissions = sequence(made, **asked)
    row.expected = Expected(row.tokens, answer)
    before = made.stats()["steps_total"]
    run(made)
    steps = made.stats()["steps_total"] - before
    return steps, [each.choice.token for each in emissions], emissions[-1].foretold


@pytest.mark.parametrize("params", [{}, {"temperature": 1.0, "seed": 3}], ids=str)
def test_an_answer_that_was_foretold_comes_sooner_and_another_one_unharmed(
    base, adapters, plain, params, monkeypatch
):
    monkeypatch.setattr(Habits, "after", lambda *_: None)
    made = guessing(base, adapters)
    asked = {"prompt": PROMPT, "max_tokens": 100} | params
    _, said, unknown = foretold(plain, asked, [])
    assert unknown is None
    # A page holds sixteen tokens, and what is foretold may fill it.
    assert foretold(made, asked, said)[0] < 100 / 8
    assert foretold(made, asked, said)[1:] == (said, 100)
    half = said[:40] + [7, 8, 9] * 10 + said[60:]
    steps, found, came = foretold(made, asked, half)
    assert (found, 40 <= came < 100) == (said, True)
    assert 10 < steps < 100 - 40
    assert foretold(made, asked, [9, 8, 7] * 40)[1:] == (said, 0)
    made.close()


def test_what_was_foretold_wrong_is_believed_less():
    expected = Expected([0, 1, 2], [3, 4, 5, 6, 7, 8])
    expected.learn([0, 1, 2, 3])
    assert expected.after([1, 2, 3], 0)[0] == 4
    assert expected.after([2, 3, 9], 0) is None
    sure = expected.after([1, 2, 3], 0)[1]
    expected.learn([0, 1, 2, 3, 9])
    assert expected.after([1, 2, 3], 0)[1] < sure


def test_what_comes_twice_in_what_was_foretold_is_gone_on_with_where_the_answer_is():
    twice = [3, 4, 5, 6, 3, 4, 5, 7]
    expected, answer = Expected([1, 2], twice), [1, 2]
    for at, token in enumerate(twice):
        answer.append(token)
        expected.learn(answer)
        if at + 1 < len(twice):
            assert expected.after(answer[-3:], 0)[0] == twice[at + 1]
        if at + 2 < len(twice):
            assert expected.after([*answer[-2:], twice[at + 1]], 1)[0] == twice[at + 2]
    assert expected.after(answer[-3:], 0) is None
    # Some of it may be left out.
    expected.learn([1, 2, 3, 4, 5, 6, 3, 5])
    expected.learn([1, 2, 5, 6, 3, 4])
    assert expected.after([6, 3, 4], 0)[0] == 5


def test_each_of_several_answers_goes_its_own_way_through_what_was_foretold():
    twice = [3, 4, 5, 6, 3, 4, 5, 7]
    first = Expected([1, 2], twice)
    second = first.copy()
    for length in range(3, 10):
        first.learn([1, 2, *twice][:length])
    assert first.after([3, 4, 5], 0)[0] == 7
    sure = second.after([4, 5, 6], 0)[1]
    for length in range(3, 6):
        second.learn([1, 2, *twice][:length])
    assert second.after([3, 4, 5], 0)[0] == 6
    first.learn([3, 4, 5, 9])
    assert second.after([3, 4, 5], 0)[1] >= sure


@pytest.mark.parametrize(("prompt", "answer"), [([1], []), ([], [1]), ([1], [2]), ([1, 2], [])])
def test_too_little_to_foretell_anything_is_fine(prompt, answer):
    expected = Expected(prompt, answer)
    for length in range(1, 6):
        expected.learn([1] * length)
        assert expected.after([1] * length, 0) is None


def test_nothing_is_guessed_from_what_another_tenant_or_adapter_said(made):
    answers(made, [{"prompt": PROMPT, "tenant": "ada", "max_tokens": 12}])
    known = set(made._drafts._habits)
    for other in ({"tenant": "bob"}, {"adapter": "0", "tenant": "ada"}, {}):
        row, _ = sequence(made, PROMPT, **other, max_tokens=12)
        assert row.scope not in known
        run(made)


def test_rows_that_nobody_waits_for_get_none_beside_others(made):
    asked = [{"prompt": [at, *PROMPT], "absent": at > 1, "max_tokens": 150} for at in (1, 2)]
    answers(made, asked)
    steps = [
        ({run.row.absent for run in runs if run.draft}, {run.row.absent for run in runs})
        for runs in watched(made, asked)
    ]
    assert ({False}, {False, True}) in steps
    assert ({True}, {True}) in steps
    assert not any(True in guessed and False in there for guessed, there in steps)


def test_nothing_is_guessed_beside_a_prompt(made):
    known = {"prompt": PROMPT, "max_tokens": 90}
    answers(made, [known])
    # Of whoever comes late only so much is read in a step.
    steps = watched(made, [known, {"prompt": list(range(3, 300)), "max_tokens": 2}])
    beside = [runs for runs in steps if any(run.count > 1 for run in runs)]
    assert len(beside) > 1
    assert not any(run.draft for runs in beside for run in runs)
    assert any(run.draft for runs in steps for run in runs)


@pytest.mark.parametrize("absent", [False, True])
def test_nothing_is_guessed_while_somebody_waits_to_begin(base, adapters, absent):
    made = guessing(base, adapters, options=replace(WITH, max_rows=1))
    known = {"prompt": PROMPT, "max_tokens": 60}
    answers(made, [known])
    steps = watched(made, [known, {"prompt": [9, 9], "absent": absent, "max_tokens": 2}])
    assert any(run.draft for runs in steps for run in runs) == absent
    made.close()


def test_a_step_holds_no_more_guesses_than_it_may(base, adapters):
    made = guessing(base, adapters, Room(0.0, 5.0))
    asked = [{"prompt": PROMPT, "max_tokens": 40}] * 4
    answers(made, asked)
    assert max(sum(len(run.draft) for run in runs) for runs in watched(made, asked)) == 5
    made.close()


def test_a_step_holds_no_more_tokens_than_it_may(base, adapters):
    made = guessing(base, adapters, options=replace(WITH, step_tokens=8))
    asked = [{"prompt": PROMPT, "max_tokens": 40}] * 5
    answers(made, asked)
    assert max(sum(run.width for run in runs) for runs in watched(made, asked)) == 8
    made.close()


def test_a_wrong_guess_whose_numbers_are_lost_harms_nobody(base, adapters, plain):
    made = guessing(base, adapters)
    forward, lost = made._network.forward, []

    def losing(runs, slots):
        logits = forward(runs, slots)
        if len(runs) == 1 and runs[0].draft:
            chosen = logits.argmax(-1).tolist()
            right = [*map(int.__eq__, chosen, runs[0].draft)]
            wrong = right.index(False) if False in right else len(right)
            lost.extend(range(wrong + 1, len(logits)))
            logits[wrong + 1 :] = torch.nan
        return logits

    made._network.forward = losing
    for at in range(3, 9):
        asked = [{"prompt": [at, *PROMPT], "adapter": "0", "max_tokens": 60}]
        assert answers(made, asked) == answers(plain, asked)
    assert lost
    made.close()


def test_a_long_prompt_is_learnt_a_little_in_each_step(made):
    prompt = [3 + at % 200 for at in range(300)]
    row, _ = sequence(made, prompt, max_tokens=20)
    learnt = [0]
    while row.generated < 20:
        made.step()
        learnt.append(row.learned)
    assert max(after - before for before, after in pairwise(learnt)) <= drafting.AT_ONCE + 1
    assert learnt[-1] == len(row.tokens)


def test_of_a_very_long_prompt_the_end_is_learnt(base, adapters):
    made = guessing(base, adapters, options=replace(WITH, kv_bytes=4 << 20))
    row, _ = sequence(made, [3 + at % 200 for at in range(900)], max_tokens=2)
    while not row.generated:
        made.step()
    assert row.learned == 900 - drafting.READ + drafting.AT_ONCE
    made.close()


def test_what_was_said_most_of_late_is_guessed():
    habits = Habits()
    habits.learn([1, 2, 3, 4], range(1, 4), 0)
    assert habits.after([1, 2, 3])[0] == 4
    assert habits.after([9, 9, 3])[0] == 4
    assert habits.after([9, 9, 9]) is None
    for _ in range(3):
        habits.learn([1, 2, 3, 4], range(1, 4), 0)
    habits.learn([1, 2, 3, 5], range(1, 4), 0)
    assert habits.after([1, 2, 3])[0] == 4
    habits.learn([1, 2, 3, 5], range(1, 4), 0)
    assert habits.after([1, 2, 3])[0] == 5


def test_how_likely_a_guess_is_is_learnt_from_those_before():
    sure, unsure = Habits(), Habits()
    for at in range(200):
        sure.learn([1, 2, 3, 4], range(1, 4), 0)
        unsure.learn([1, 2, 3, 10 + at], range(1, 4), 0)
    assert sure.after([1, 2, 3])[1] > 0.95
    assert unsure.after([1, 2, 3])[1] < 0.1


def test_what_is_asked_says_nothing_about_how_answers_go_on():
    habits = Habits()
    habits.learn([1, 2, 3, 10], range(1, 4), 4)
    before = habits.after([1, 2, 3])[1]
    for at in range(50):
        habits.learn([1, 2, 3, 11 + at], range(1, 4), 4)
    assert habits.after([1, 2, 3])[1] == before


def test_habits_are_bounded_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(habitual, "REMEMBERED", 30)
    habits = Habits()
    for at in range(100):
        habits.learn([7, 8], range(1, 2), 0)
        habits.learn([100 + at, 200 + at], range(1, 2), 0)
        assert len(habits) <= 30
    assert habits.after([7])[0] == 8
    assert habits.after([100]) is None


def test_who_was_not_heard_for_longest_is_forgotten(monkeypatch, base, adapters):
    monkeypatch.setattr(drafting, "REMEMBERED", 200)
    made = guessing(base, adapters)
    for at in range(12):
        answers(made, [{"prompt": [at, *PROMPT], "tenant": str(at), "max_tokens": 20}])
        kept = made._drafts._habits
        assert sum(map(len, kept.values())) == made._drafts._remembered <= 200
    assert b"\x0011" in kept
    assert b"\x000" not in kept
    made.close()
