"""What a base thinks before it answers is told from the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import Parts, all_of
from thinking import CLOSABLE, OPENED, with_template
from tiny import CHATML, tiny_base
from transformers import AddedToken, AutoTokenizer

from deploy.deltas import Deltas
from deploy.engine_replica import _prompt, _thoughts
from router.engine import Generation, Message
from specialists.engine.chat_template import OWN_CALLS
from specialists.engine.core import Choice, FinishReason, emitted
from specialists.engine.text import Tokenizer
from specialists.engine.text_stream import TextStream
from specialists.engine.thoughts import ThoughtReader, Thoughts, apart

ASKED = Message("user", "hello")
WORDS = st.text("ab <>/think\n")


def read(parts, *, thinking):
    reader = ThoughtReader(thinking=thinking)
    pushed = [reader.push(part) for part in parts]
    return tuple(map("".join, zip(*pushed, reader.end(), strict=True)))


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp("base")
    return tiny_base(made, context=1024, pieces=request.param == "pieces").folder


@pytest.mark.parametrize(
    ("text", "thinking", "expected"),
    [
        ("I see.\n</think>\n\nYes.", True, ("I see.", "Yes.")),
        ("<think>\nI see.\n</think>\n\nYes.", False, ("I see.", "Yes.")),
        ("<think>\nI see.\n</think>\n\nYes.", True, ("I see.", "Yes.")),
        ("\n\n<think>I see. </think>Yes.\n", False, ("I see.", "Yes.\n")),
        ("\n</think>\n\nYes.", True, ("", "Yes.")),
        ("<think>\n\n</think>\n\n Yes.", False, ("", "Yes.")),
        (" Yes, <think> is a mark. </think>", False, ("", " Yes, <think> is a mark. </think>")),
        ("I see.</think>Yes: </think> ends it.", True, ("I see.", "Yes: </think> ends it.")),
        ("I see. <think>Again.</think>Yes.", True, ("I see. <think>Again.", "Yes.")),
        ("<thin air", False, ("", "<thin air")),
        ("<thin", False, ("", "<thin")),
        (" \n", False, ("", " \n")),
        (" \n", True, ("", "")),
        ("cut off </thi", True, ("cut off </thi", "")),
        ("<think>cut off \n", False, ("cut off", "")),
        ("", True, ("", "")),
    ],
)
def test_thoughts_are_told_from_the_answer_however_it_is_cut(text, thinking, expected):
    assert read([text], thinking=thinking) == expected
    assert read(text, thinking=thinking) == expected


@given(thought=WORDS, said=WORDS, opened=st.booleans(), data=st.data())
def test_what_comes_is_the_same_however_it_is_cut(thought, said, opened, data):
    text = ("" if opened else "<think>") + thought + "</think>" + said
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = read(parts, thinking=opened)
    assert found == read([text], thinking=opened)
    if "think>" not in thought:
        assert found == (thought.strip(), said.lstrip()) == apart(text)


def test_nothing_is_shown_that_may_begin_a_mark():
    reader = ThoughtReader(thinking=True)
    assert [reader.push(part) for part in ("a\n", "<", "/th", "ink", ">\n", "b")] == [
        ("a", ""), ("", ""), ("", ""), ("", ""), ("", ""), ("", "b")
    ]  # fmt: skip
    assert reader.push(" c") == ("", " c")


@pytest.mark.parametrize(
    ("template", "variables", "expected"),
    [
        (CHATML, None, None),
        (OPENED, None, Thoughts(opened=True)),
        (CLOSABLE, None, Thoughts(opened=False)),
        (CLOSABLE, {"enable_thinking": False}, Thoughts(opened=False)),
    ],
)
def test_a_template_says_whether_answers_begin_within_thoughts(
    folder, template, variables, expected
):
    tokenizer = with_template(folder, template)
    prompt = tokenizer.encode_chat([ASKED], variables=variables or {})
    assert _thoughts(Generation("id", None, (ASKED,)), prompt, tokenizer) == expected


@pytest.mark.parametrize("said", ["hello <think>", "hello <think>\n"])
def test_nobody_opens_thoughts_by_writing_of_them(folder, said):
    tokenizer = with_template(folder, CLOSABLE)
    prompt = tokenizer.encode_chat([Message("user", said)])
    assert tokenizer.thoughts_after(prompt) == Thoughts(opened=False)


@pytest.mark.parametrize("prompt", ["a <think>", (5, 6, 7), ()])
def test_texts_that_are_no_chats_are_taken_as_they_are(folder, prompt):
    assert _thoughts(Generation("id", None, prompt), [5], with_template(folder, OPENED)) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [("<think>\nWell", Thoughts(opened=True)), ("<think>Well</think>So", None), ("So", None)],
)
def test_an_answer_is_gone_on_with_where_it_stopped(folder, said, expected):
    tokenizer = with_template(folder, OPENED)
    chat = (ASKED, Message("assistant", said))
    prompt = tokenizer.encode_chat(chat, continued=True)
    asked = Generation("id", None, chat, continued=True)
    assert _thoughts(asked, prompt, tokenizer) == expected
    assert tokenizer.decode(prompt).endswith(said.rpartition("</think>")[2])


def with_special_marks(folder):
    theirs = AutoTokenizer.from_pretrained(folder)
    marks = [AddedToken(mark, special=True) for mark in ("<think>", "</think>")]
    theirs.add_tokens(marks, special_tokens=True)
    theirs.chat_template = OPENED
    return Tokenizer(theirs, frozenset({theirs.eos_token_id}))


def test_marks_are_read_where_they_are_control_tokens(folder):
    tokenizer = with_special_marks(folder)
    found = tokenizer.thoughts_after(tokenizer.encode_chat([ASKED]))
    assert found == Thoughts(opened=True, own_tokens=True)
    answer = tokenizer.encode_part("a</think>b<|im_end|>")
    _, text = all_of(tokenizer.stream(()), answer)
    assert text.replace(" ", "") == "a</think>b"
    assert all_of(tokenizer.stream((), found), answer) == ("a", "b")


@pytest.mark.parametrize("template", [OPENED, CLOSABLE])
@pytest.mark.parametrize("thoughts", ["I see.", ""])
def test_a_template_writes_what_was_thought_as_transformers_would(folder, template, thoughts):
    tokenizer = with_template(folder, template)
    said = {"role": "assistant", "content": "Yes.", "reasoning_content": thoughts}
    chat = [{"role": "user", "content": "hello"}, said]
    expected = tokenizer._tokenizer.apply_chat_template(chat, tokenize=False)
    apart_ = Message("assistant", "Yes.", thoughts=thoughts)
    assert tokenizer.render_chat([ASKED, apart_], answer=False) == expected
    if thoughts:
        marked = Message("assistant", f"<think>\n{thoughts}\n</think>\n\nYes.")
        assert tokenizer.render_chat([ASKED, marked], answer=False) == expected


def test_a_base_that_marks_no_thoughts_is_shown_what_was_written(folder):
    said = "<think>a</think>b"
    assert said in with_template(folder, CHATML).render_chat([ASKED, Message("assistant", said)])


def heard(row, reader, text, finish=None):
    """What a row emits for a token that says so."""
    stream = TextStream(Parts([text]), (), reader)
    return row, emitted(stream, Choice(0), finish, ended=False, cached=0)


def test_deltas_tell_thoughts_answers_and_calls_apart(folder):
    tokenizer = with_template(folder, OPENED)
    deltas = Deltas(tokenizer, OWN_CALLS, 2, thoughts=Thoughts(opened=True))
    one, two = (ThoughtReader(thinking=True) for _ in range(2))
    call = OWN_CALLS.opening + "dice" + OWN_CALLS.between + "{}" + OWN_CALLS.closing
    first, other = deltas.of(
        [
            heard(0, one, "I could "),
            heard(1, two, f"write {call} </think>"),
            heard(1, two, "\n\nNo.", FinishReason.STOP),
            heard(0, one, "roll.\n"),
        ]
    )
    assert (first.thought, first.text, first.calls) == ("I could roll.", "", ())
    assert (other.thought, other.text, other.calls) == (f"write {call}", "No.", ())
    [rest] = deltas.of(
        [
            heard(0, one, "</think>"),
            heard(0, one, f"So: {call}", FinishReason.STOP),
        ]
    )
    assert (rest.thought, rest.text, rest.finish_reason) == ("", "So:", "tool_calls")
    assert [each.name for each in rest.calls] == ["dice"] + [None] * (len(rest.calls) - 1)
    assert deltas.thought_tokens == 4


@pytest.mark.parametrize("whole", [False, True])
def test_thoughts_that_are_cut_off_are_no_answer(folder, whole):
    deltas = Deltas(
        with_template(folder, OPENED), None, 1, thoughts=Thoughts(opened=True), whole=whole
    )
    reader = ThoughtReader(thinking=True)
    [delta] = deltas.of([heard(0, reader, "I see </", FinishReason.LENGTH)])
    assert (delta.thought, delta.text, delta.tokens) == ("I see </", "", 1)


PIECES = ["<think>I ", "see.", "</think>", "Yes", "."]


@pytest.mark.parametrize(
    ("opened", "pieces", "whole", "told", "counted"),
    [
        (True, PIECES, True, [("", ""), ("", ""), ("I see.", ""), ("", "Yes"), ("", ".")], 3),
        (False, PIECES, True, [("", ""), ("", ""), ("I see.", ""), ("", "Yes"), ("", ".")], 2),
        (False, PIECES, False, [("I", ""), (" see.", ""), ("", ""), ("", "Yes"), ("", ".")], 2),
        (False, ["<think>I</think>Y", "es"], True, [("I", "Y"), ("", "es")], 0),
        (False, ["Y", "es"], True, [("", "Y"), ("", "es")], 0),
        # What never closes the thoughts that its prompt opened, and ends, is an answer.
        (True, ["Y", "es"], True, [("", ""), ("", "Yes")], 0),
        (True, ["Y", "es"], False, [("Y", ""), ("", "Yes")], 0),
        (False, ["<think>Y", "es"], True, [("", ""), ("Yes", "")], 1),
    ],
)
def test_thoughts_are_told_as_they_come_or_once_they_are_whole(
    folder, opened, pieces, whole, told, counted
):
    tokenizer = with_template(folder, OPENED)
    deltas = Deltas(tokenizer, None, 1, thoughts=Thoughts(opened=opened), whole=whole)
    reader = ThoughtReader(thinking=opened)
    ends = [None] * (len(pieces) - 1) + [FinishReason.STOP]
    found = [
        deltas.of([heard(0, reader, piece, end)])[0]
        for piece, end in zip(pieces, ends, strict=True)
    ]
    assert [(delta.thought, delta.text) for delta in found] == told
    assert deltas.thought_tokens == counted


@pytest.mark.parametrize("thought", [0, 5, None])
def test_an_answer_that_nobody_thinks_over_has_no_budget(folder, thought):
    asked = Generation("id", None, (ASKED,), most_thought=thought)
    assert _thoughts(asked, [5], with_template(folder, CHATML)) is None
    found = _thoughts(asked, [5], with_template(folder, CLOSABLE))
    assert found == Thoughts(opened=False, most=thought or None)


@pytest.mark.parametrize(
    ("text", "opened", "expected", "stopped"),
    [
        ("one. two.</think>\n\nthree. four.", True, ("one. two.", "three"), "."),
        ("<think>one. two.</think>three. four.", False, ("one. two.", "three"), "."),
        ("one. two.", False, ("", "one"), "."),
        ("one. two.", True, ("one. two.", ""), None),
        ("one. </think>\n\n. two", True, ("one.", ""), "."),
        ("<thi.", False, ("", "<thi"), "."),
        ("<thi", False, ("", "<thi"), None),
        ("<", False, ("", "<"), None),
    ],
)
def test_a_stop_text_ends_the_answer_and_no_thoughts(folder, text, opened, expected, stopped):
    tokenizer = with_template(folder, OPENED)
    stream = tokenizer.stream((".",), Thoughts(opened))
    thought, said = all_of(stream, tokenizer.encode_part(text))
    assert (thought.strip(), said.strip()) == expected
    assert stream.stopped_by == stopped


def test_a_stop_text_may_begin_as_a_mark_does(folder):
    tokenizer = with_template(folder, OPENED)
    stream = tokenizer.stream(("<th",), Thoughts(opened=False))
    assert all_of(stream, tokenizer.encode_part("<thi"))[1].strip() == ""
    assert stream.stopped_by == "<th"


@pytest.mark.parametrize("template", [OPENED, CLOSABLE])
def test_an_answer_can_be_wanted_without_a_thought(folder, template):
    tokenizer = with_template(folder, template)
    prompt = tokenizer.encode_chat([ASKED])
    if template == OPENED:
        expected = [*prompt, *tokenizer.encode_part("\n</think>\n\n")]
    else:
        expected = tokenizer.encode_chat([ASKED], variables={"enable_thinking": False})
    found = _prompt(Generation("id", None, (ASKED,), most_thought=0), tokenizer, 1024)
    assert found == expected
    assert not tokenizer.thoughts_after(found).opened
    assert _prompt(Generation("id", None, (ASKED,)), tokenizer, 1024) == prompt


def test_what_was_begun_is_not_closed_by_who_wants_no_thoughts(folder):
    tokenizer = with_template(folder, OPENED)
    chat = (ASKED, Message("assistant", "<think>"))
    asked = Generation("id", None, chat, continued=True, most_thought=0)
    assert _prompt(asked, tokenizer, 1024) == tokenizer.encode_chat(chat, continued=True)


def test_a_base_that_marks_no_thoughts_is_told_nothing_of_them(folder):
    tokenizer = with_template(folder, CHATML + "{{ enable_thinking is defined }}")
    prompt = _prompt(Generation("id", None, (ASKED,), most_thought=0), tokenizer, 1024)
    assert tokenizer.decode(prompt).endswith("False")
