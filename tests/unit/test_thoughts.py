"""What a base thinks before it answers is told from the answer."""

import asyncio
import json
from contextlib import closing
from typing import NamedTuple

import pytest
from engines import SMALL
from hypothesis import given
from hypothesis import strategies as st
from thinking import CLOSABLE, OPENED, with_template
from tiny import CHATML, tiny_base
from transformers import AddedToken, AutoTokenizer, LlamaForCausalLM

from deploy.deltas import Deltas
from deploy.engine_replica import EngineReplica, _grammar, _prompt, _thoughts
from router.engine import Generation, Message, Rules, Tool, ToolCall, ToolUse, joined
from router.pool import Pool
from router.sampling import Sampling
from specialists.engine.chat_template import OWN_CALLS
from specialists.engine.core import Choice, Emission, FinishReason
from specialists.engine.grammar import Grammars
from specialists.engine.runner import Runner
from specialists.engine.text import Tokenizer
from specialists.engine.thought_budget import ThoughtBudget
from specialists.engine.thoughts import ThoughtReader, Thoughts, apart
from specialists.errors import InvalidSampling

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
    stream = tokenizer.stream(())
    answer = tokenizer.encode_part("a</think>b<|im_end|>")
    text = "".join(map(stream.push, answer)) + stream.flush()
    assert text.replace(" ", "") == "a</think>b"


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


def test_deltas_tell_thoughts_answers_and_calls_apart(folder):
    tokenizer = with_template(folder, OPENED)
    deltas = Deltas(tokenizer, OWN_CALLS, 2, thoughts=Thoughts(opened=True))
    call = OWN_CALLS.opening + "dice" + OWN_CALLS.between + "{}" + OWN_CALLS.closing
    first, other = deltas.of(
        [
            (0, Emission(Choice(5), "I could ")),
            (1, Emission(Choice(5), f"write {call} </think>")),
            (1, Emission(Choice(6), "\n\nNo.", FinishReason.STOP)),
            (0, Emission(Choice(6), "roll.\n")),
        ]
    )
    assert (first.thought, first.text, first.calls) == ("I could roll.", "", ())
    assert (other.thought, other.text, other.calls) == (f"write {call}", "No.", ())
    [rest] = deltas.of(
        [
            (0, Emission(Choice(7), "</think>")),
            (0, Emission(Choice(8), f"So: {call}", FinishReason.STOP)),
        ]
    )
    assert (rest.thought, rest.text, rest.finish_reason) == ("", "So:", "tool_calls")
    assert [each.name for each in rest.calls] == ["dice"] + [None] * (len(rest.calls) - 1)
    assert deltas.thought_tokens == 4


def test_thoughts_that_are_cut_off_are_no_answer(folder):
    deltas = Deltas(with_template(folder, OPENED), None, 1, thoughts=Thoughts(opened=True))
    [delta] = deltas.of([(0, Emission(Choice(5), "I see </", FinishReason.LENGTH))])
    assert (delta.thought, delta.text, delta.tokens) == ("I see </", "", 1)


SCHEMA = json.dumps(
    {"type": "object", "properties": {"a": {"enum": ["}", "{"]}}, "required": ["a"]}
)
DICE = Tool("dice", json.dumps({"type": "object", "properties": {}}))
JSON = '{"a": "}"}'
CALL = OWN_CALLS.write([ToolCall("dice", "{}")])
FORMS = {
    "schema": ({"schema": SCHEMA}, JSON),
    "regex": ({"rules": Rules("regex", r"[0-9]{2}\}")}, "12}"),
    "choice": ({"rules": Rules("choice", '["}no", "yes"]')}, "}no"),
    "lark": ({"rules": Rules("grammar", 'start: "}" B // }\nB: /b{2}/')}, "}bb"),
    "gbnf": ({"rules": Rules("grammar", 'root ::= "}" b\nb ::= "b"')}, "}b"),
    "calls": ({"tool_use": ToolUse((DICE,), required=True)}, CALL),
    "calls or text": ({"tool_use": ToolUse((DICE,))}, "no dice"),
    "calls or schema": ({"tool_use": ToolUse((DICE,)), "schema": SCHEMA}, JSON),
}


class Made(NamedTuple):
    """What grammars are made with."""

    tokenizer: Tokenizer
    grammars: Grammars
    own_tokens: bool


@pytest.fixture(scope="module", params=[False, True], ids=["text", "tokens"])
def made(request, tmp_path_factory):
    theirs = AutoTokenizer.from_pretrained(tiny_base(tmp_path_factory.mktemp("base")).folder)
    if request.param:
        theirs.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    tokenizer = Tokenizer(theirs, frozenset({theirs.eos_token_id}))
    grammars = Grammars(tokenizer.state, tokenizer.eos, len(theirs))
    return Made(tokenizer, grammars, request.param)


def held(made, opened, **fields):
    """The grammar of an answer."""
    thoughts = None if opened is None else Thoughts(opened, made.own_tokens)
    return _grammar(Generation("id", None, (ASKED,), **fields), made, thoughts)


def fits(made, grammar, text):
    """Whether a grammar takes a text, to its end."""
    [end] = made.tokenizer.eos
    tokens = [*made.tokenizer.encode_part(text), end]
    return grammar.copy().fitting(tokens) == len(tokens)


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_held_to_its_form_once_it_has_been_thought_over(made, form):
    fields, answer = FORMS[form]
    opened, closed, plain = (held(made, each, **fields) for each in (True, False, None))
    thought = 'I could say {"a": 1}, or <b>.\n'
    assert fits(made, opened, f"{thought}</think>\n\n{answer}")
    assert fits(made, opened, f"</think>{answer}")
    assert not fits(made, opened, answer)
    assert fits(made, closed, f"<think>{thought}</think>\n\n{answer}")
    assert fits(made, closed, answer)
    assert fits(made, plain, answer)
    if form != "calls or text":
        for grammar, before in ((opened, "a</think>"), (closed, "<think></think>"), (closed, "")):
            assert not fits(made, grammar, f"{before}{thought}")
            assert not fits(made, grammar, f"{before}{answer}, I think")
        assert not fits(made, plain, f"<think></think>{answer}")


def test_a_mark_that_is_a_token_is_not_spelt_otherwise(made):
    grammar = held(made, True, rules=Rules("choice", '["yes", "no"]'))
    spelt = [token for each in "a</think>" for token in made.tokenizer.encode_part(each)]
    assert grammar.fitting(spelt) == len(spelt) - made.own_tokens


def test_a_schema_that_is_none_is_refused_as_ever(made):
    with pytest.raises(InvalidSampling, match="EOF"):
        held(made, True, schema="{")


def test_a_form_may_be_that_of_a_grammar_which_no_brace_ends_early(made):
    with pytest.raises(InvalidSampling):
        held(made, None, rules=Rules("grammar", 'start: "a"\n}\nb: "c"'))


class Replica(EngineReplica):
    """A replica of an engine that is there."""

    def __init__(self, backend):
        self._backend = backend
        self._compiling = Pool("grammars", 1)

    def __del__(self):
        pass


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """Of a base whose marks are tokens, and which opens its thoughts."""
    folder = tiny_base(tmp_path_factory.mktemp("base"), context=1024).folder
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    theirs.chat_template = OPENED
    theirs.save_pretrained(folder)
    network = LlamaForCausalLM.from_pretrained(folder)
    network.resize_token_embeddings(len(theirs))
    network.save_pretrained(folder)
    with closing(Runner.from_folder(folder, {}.__getitem__, SMALL, max_waiting=4)) as runner:
        yield Replica(runner)


def answered(replica, **fields):
    """What a replica's answer to a chat gathers to."""
    asked = Generation("id", None, (ASKED,), **fields)

    async def gathered():
        deltas = [item async for item in replica._answer(asked)]
        return joined(deltas[:-1])[0], deltas[-1]

    return asyncio.run(gathered())


def test_a_replica_thinks_then_answers_as_is_wanted(replica):
    tokenizer = replica._backend.tokenizer
    [mark] = tokenizer.encode_part("</think>")
    [a] = tokenizer.encode_part("a")
    closes = Sampling(max_tokens=40, logit_bias=((mark, 100.0),), temperature=0.0)
    rules = Rules("choice", '["yes", "yes, of course"]')
    delta, usage = answered(replica, sampling=closes, rules=rules)
    assert delta.thought == ""
    assert delta.text.startswith("yes")
    assert usage.thought_tokens == 1
    thinks = Sampling(max_tokens=5, logit_bias=((a, 100.0),), temperature=0.0)
    delta, usage = answered(replica, sampling=thinks, rules=rules)
    assert (delta.thought, delta.text, delta.finish_reason) == ("aaaaa", "", "length")
    assert usage.thought_tokens == usage.completion_tokens == 5
    delta, usage = answered(replica, sampling=thinks, thought=0)
    assert (delta.thought, delta.text, usage.thought_tokens) == ("", "aaaaa", 0)


@pytest.mark.parametrize("rules", [None, Rules("choice", '["yes", "yes, of course"]')])
def test_thoughts_end_when_their_budget_is_spent(replica, rules):
    tokenizer = replica._backend.tokenizer
    letters = tuple((tokenizer.encode_part(each)[0], bias) for each, bias in (("a", 50), ("y", 40)))
    likely = Sampling(max_tokens=20, logit_bias=letters, temperature=0.0)
    delta, usage = answered(replica, sampling=likely, rules=rules, thought=3)
    assert delta.thought == "aaa"
    assert delta.text.startswith("yes" if rules else "aaaa")
    assert usage.thought_tokens == 3 + len(tokenizer.encode_part("\n</think>"))


def spending(most, parts, *, opened):
    """Which tokens were forced beside those that came, each one of `parts`."""
    budget = ThoughtBudget(most, [90, 91], parts.__getitem__, ThoughtReader(thinking=opened))
    forced = []
    for token in range(len(parts)):
        while (must := budget.forced) is not None:
            forced.append((token, must))
            budget.accept(must)
        budget.accept(token)
    return forced


@pytest.mark.parametrize(
    ("most", "parts", "opened", "forced"),
    [
        (2, "abcd", True, [(2, 90), (2, 91)]),
        (9, "abcd", True, []),
        (4, "abcd", True, []),
        (1, ["a</think>", "b", "c"], True, []),
        (2, ["a", "</think>", "c"], True, []),
        (1, ["a", "</think>", "c"], True, [(1, 90), (1, 91)]),
        (1, "abcd", False, []),
        (1, ["<think>", "a", "b"], False, [(2, 90), (2, 91)]),
    ],
)
def test_what_closes_thoughts_comes_once_and_only_where_they_are_too_long(
    most, parts, opened, forced
):
    assert spending(most, parts, opened=opened) == forced


@pytest.mark.parametrize("thought", [0, 5, None])
def test_an_answer_that_nobody_thinks_over_has_no_budget(folder, thought):
    asked = Generation("id", None, (ASKED,), thought=thought)
    assert _thoughts(asked, [5], with_template(folder, CHATML)) is None
    found = _thoughts(asked, [5], with_template(folder, CLOSABLE))
    assert found == Thoughts(opened=False, most=thought or None)


def test_where_no_thoughts_are_wanted_a_form_lets_none_pass(replica):
    tokenizer = replica._backend.tokenizer
    [opening] = tokenizer.encode_part("<think>")
    likely = Sampling(max_tokens=40, logit_bias=((opening, 100.0),), temperature=0.0)
    rules = Rules("choice", '["yes", "yes, of course"]')
    delta, usage = answered(replica, sampling=likely, rules=rules, thought=0)
    assert (delta.thought, delta.text[:3], usage.thought_tokens) == ("", "yes", 0)


@pytest.mark.parametrize(
    ("text", "opened", "expected", "stopped"),
    [
        ("one. two.</think>\n\nthree. four.", True, "one. two.</think>\n\nthree", "."),
        ("<think>one. two.</think>three. four.", False, "<think>one. two.</think>three", "."),
        ("one. two.", False, "one", "."),
        ("one. two.", True, "one. two.", None),
        ("one. </think>\n\n. two", True, "one. </think>\n\n", "."),
    ],
)
def test_a_stop_text_ends_the_answer_and_no_thoughts(folder, text, opened, expected, stopped):
    tokenizer = with_template(folder, OPENED)
    stream, shown = tokenizer.stream((".",), Thoughts(opened)), ""
    for token in tokenizer.encode_part(text):
        shown += stream.push(token)
        if stream.stopped_by is not None:
            break
    assert ((shown + stream.flush()).strip(" "), stream.stopped_by) == (expected, stopped)


@pytest.mark.parametrize("template", [OPENED, CLOSABLE])
def test_an_answer_can_be_wanted_without_a_thought(folder, template):
    tokenizer = with_template(folder, template)
    prompt = tokenizer.encode_chat([ASKED])
    if template == OPENED:
        expected = [*prompt, *tokenizer.encode_part("\n</think>\n\n")]
    else:
        expected = tokenizer.encode_chat([ASKED], variables={"enable_thinking": False})
    found = _prompt(Generation("id", None, (ASKED,), thought=0), tokenizer, 1024)
    assert found == expected
    assert not tokenizer.thoughts_after(found).opened
    assert _prompt(Generation("id", None, (ASKED,)), tokenizer, 1024) == prompt


def test_what_was_begun_is_not_closed_by_who_wants_no_thoughts(folder):
    tokenizer = with_template(folder, OPENED)
    chat = (ASKED, Message("assistant", "<think>"))
    asked = Generation("id", None, chat, continued=True, thought=0)
    assert _prompt(asked, tokenizer, 1024) == tokenizer.encode_chat(chat, continued=True)


def test_a_base_that_marks_no_thoughts_is_told_nothing_of_them(folder):
    tokenizer = with_template(folder, CHATML + "{{ enable_thinking is defined }}")
    prompt = _prompt(Generation("id", None, (ASKED,), thought=0), tokenizer, 1024)
    assert tokenizer.decode(prompt).endswith("False")
