"""Answers that are held to a form are thought over first."""

import json
from typing import NamedTuple

import pytest
from tiny import tiny_base
from transformers import AddedToken, AutoTokenizer

from deploy.engine_replica import _grammar
from router.engine import Generation, Message, Rules, Tool, ToolCall, ToolUse
from specialists.engine.chat_template import OWN_CALLS
from specialists.engine.grammar import Grammars
from specialists.engine.text import Tokenizer
from specialists.engine.thoughts import Thoughts
from specialists.errors import InvalidSampling

ASKED = Message("user", "hello")
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
