"""Answers of a JSON schema: whatever the weights say, what comes out is one."""

import json
import re

import pytest
from engines import engine, run, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_base
from transformers import PreTrainedTokenizerFast

from router.wire.response_format import ANY_OBJECT
from specialists.engine.core import FinishReason
from specialists.engine.grammar import KEPT, MAX_CHARACTERS
from specialists.errors import InvalidSampling

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def base(request, tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), pieces=request.param == "pieces")


@pytest.fixture(scope="module")
def made(base):
    made = engine(base, {})
    yield made
    made.close()


def answers(made, schema, count=1, **params):
    """What rows of a random base answer, held to a schema, with why they ended."""
    grammar = made.grammars.of_schema(json.dumps(schema) if isinstance(schema, dict) else schema)
    return held(made, grammar, count, **params)


def held(made, grammar, count=1, **params):
    """What rows of a random base answer, held to a grammar, with why they ended."""
    rows = []
    for seed in range(count):
        settings = {"max_tokens": 150} | params
        _, emissions = sequence(made, [5, 6, 7], grammar=grammar.copy(), seed=seed, **settings)
        rows.append(emissions)
    run(made)
    return [("".join(emission.text for emission in each), each[-1].finish) for each in rows]


def test_a_tokenizer_may_know_a_token_that_no_answer_has(tmp_path):
    """As one for padding, which was added when the base was trained further."""
    base = tiny_base(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer.add_special_tokens({"pad_token": "[PAD]"}) == 1
    tokenizer.save_pretrained(tmp_path)
    made = engine(base, {})
    assert len(tokenizer) == made.vocabulary + 1
    [(text, finish)] = answers(made, PERSON)
    made.close()
    assert finish is FinishReason.STOP
    assert json.loads(text)["kind"] in ("a", "b")


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_every_answer_satisfies_its_schema(made, temperature):
    for text, finish in answers(made, PERSON, count=4, temperature=temperature):
        assert finish is FinishReason.STOP, text
        person = json.loads(text)
        assert list(person) == ["name", "age", "kind"]
        assert isinstance(person["age"], int)
        assert 0 <= person["age"] <= 99
        assert len(person["name"]) <= 6
        assert person["kind"] in ("a", "b")


def test_rows_of_other_schemas_or_none_share_the_batch(made):
    number = made.grammars.of_schema(json.dumps({"type": "integer", "minimum": 10, "maximum": 99}))
    word = made.grammars.of_schema(json.dumps({"const": "word"}))
    _, alone = sequence(made, [5, 6, 7], max_tokens=12)
    run(made)
    rows = [
        sequence(made, [5, 6, 7], grammar=number)[1],
        sequence(made, [5, 6, 7], max_tokens=12)[1],
        sequence(made, [5, 6, 7], grammar=word)[1],
    ]
    run(made)
    texts = ["".join(emission.text for emission in emissions) for emissions in rows]
    assert 10 <= json.loads(texts[0]) <= 99
    assert [e.choice for e in rows[1]] == [e.choice for e in alone]
    assert texts[2] == '"word"'


def test_an_answer_that_is_cut_short_says_so(made):
    [(text, finish)] = answers(made, {"type": "string", "minLength": 50}, max_tokens=5)
    assert finish is FinishReason.LENGTH
    assert text.startswith('"')


def test_any_object_is_an_object(made):
    [(text, finish)] = answers(made, ANY_OBJECT, max_tokens=230)
    assert text.startswith("{")
    assert finish is FinishReason.LENGTH or isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "(?<=a)b"},
        {"allOf": [{"type": "string"}, {"type": "object"}]},
        {"type": "string", "description": "x" * MAX_CHARACTERS},
        "[]",
        "{",
    ],
)
def test_what_cannot_be_held_is_refused(made, schema):
    text = schema if isinstance(schema, str) else json.dumps(schema)
    with pytest.raises(InvalidSampling) as caught:
        made.grammars.of_schema(text)
    assert caught.value.param == "response_format"
    assert 0 < len(str(caught.value)) <= 300


def test_the_last_used_schemas_are_kept(made):
    made.grammars.of_schema(json.dumps(PERSON))
    for number in range(KEPT - 1):
        made.grammars.of_schema(json.dumps({"const": number}))
    made.grammars.of_schema(json.dumps(PERSON))
    made.grammars.of_schema(json.dumps({"const": "one more"}))
    kept = made.grammars._kept
    assert len(kept) == KEPT
    assert ("schema", json.dumps(PERSON)) in kept
    assert ("schema", json.dumps({"const": 0})) not in kept


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(schema=st.dictionaries(st.sampled_from(
    ["type", "properties", "required", "items", "enum", "anyOf", "pattern", "$ref", "minimum"]
), VALUES, max_size=4))  # fmt: skip
def test_any_schema_is_compiled_or_refused(made, schema):
    try:
        grammar = made.grammars.of_schema(json.dumps(schema))
    except InvalidSampling:
        return
    assert grammar.allowed().any()


@pytest.mark.parametrize(
    "expression",
    [
        r"\d{3}-[a-f]{2}",
        "a/b|c//d",
        r"a\/b",
        r"[/\\]{2}",
        "line\nbreak",
        r"line\nbreak",
        "\\\n",
        r"\\",
        '"quoted"',
        "//",
        "(?i)yes|no",
        "grüße?",
        r"[^\n]{1,5}!",
    ],
)
def test_every_answer_matches_its_regular_expression_whole(made, expression):
    grammar = made.grammars.of_rules("regex", expression, "regex")
    for text, finish in held(made, grammar, count=3, temperature=1.5):
        assert finish is FinishReason.STOP, text
        assert re.fullmatch(expression, text)


def test_every_answer_is_one_of_the_choices(made):
    choices = ['say "yes"', "no", "no way", "a\nline", "back\\slash", "/", "ü", "a | b"]
    grammar = made.grammars.of_rules("choice", json.dumps(choices), "choice")
    found = held(made, grammar, count=16, temperature=2.0)
    assert all(finish is FinishReason.STOP for _, finish in found)
    assert {text for text, _ in found} <= set(choices)
    assert len({text for text, _ in found}) > 1


GRAMMARS = {
    "Lark": 'start: WORD ("," WORD)~1..3\nWORD: /[a-c]{2}/',
    "GBNF": 'root ::= word ("," word){1,3}\nword ::= [a-c] [a-c]',
}


@pytest.mark.parametrize("rules", GRAMMARS.values(), ids=GRAMMARS)
def test_every_answer_is_derived_by_its_grammar(made, rules):
    grammar = made.grammars.of_rules("grammar", rules, "grammar")
    for text, finish in held(made, grammar, count=4, temperature=1.0):
        assert finish is FinishReason.STOP, text
        assert re.fullmatch("[a-c]{2}(,[a-c]{2}){1,3}", text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("regex", "(unclosed"),
        ("regex", r"(?=ahead)a"),
        ("regex", r"(a)\1"),
        ("regex", "x" * (MAX_CHARACTERS + 1)),
        ("choice", json.dumps(["x" * MAX_CHARACTERS])),
        ("grammar", "start: undefined"),
        ("grammar", "root ::= ("),
        ("grammar", "(" * 5000),
        ("grammar", "neither of them"),
        ("grammar", "%import nothing.there\nstart: X"),
    ],
)
def test_rules_that_cannot_be_held_are_refused(made, language, text):
    with pytest.raises(InvalidSampling) as error:
        made.grammars.of_rules(language, text, f"structured_outputs.{language}")
    assert error.value.param == f"structured_outputs.{language}"
    assert str(error.value)


def test_rules_that_take_long_for_each_token_are_given_up(made):
    """All answers wait for a token's mask, which took 330 ms of these."""
    rules = 'start: s "!"\ns: s s | "a" | "b" | "ab"'
    grammar = made.grammars.of_rules("grammar", rules, "structured_outputs.grammar")
    first = int(grammar.allowed().nonzero()[0][0])

    def go_on():
        for _ in range(400):
            grammar.accept(first)
            assert grammar.allowed()[first]

    with pytest.raises(InvalidSampling, match="items") as error:
        go_on()
    assert error.value.param == "structured_outputs.grammar"


@given(expression=st.text(max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_expression_is_written_as_lark_means_it_or_is_refused(made, expression):
    try:
        grammar = made.grammars.of_rules("regex", expression, "regex")
    except InvalidSampling:
        return
    assert grammar.rules.count("\n") == 1
    assert grammar.allowed().any()
