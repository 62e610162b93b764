import json
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry.card import Card
from registry.errors import InvalidCard

MINIMAL = {"id": "ada/coach", "description": "Rehearses salary talks."}
FULL = MINIMAL | {
    "tags": ["coaching", "work"],
    "examples": ["How do I ask for more?", "Two\nlines: yes"],
    "license": "apache-2.0",
    "language": "de",
    "base": "tiny",
    "evaluation": [{"metric": "exact match", "value": 0.9, "base_value": 0.1, "rows": 60}],
}


def parse(**changes):
    return Card.parse(json.dumps(MINIMAL | changes))


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
@pytest.mark.parametrize("fields", [MINIMAL, FULL], ids=["minimal", "full"])
def test_reads_json_and_yaml_alike(write, fields):
    assert Card.parse(write(fields)) == Card.parse(write(fields).encode()) == Card.of(fields)


def test_defaults():
    card = parse()
    assert (card.tags, card.examples, card.evaluation) == ((), (), ())
    assert (card.license, card.language, card.base) == (None, "en", None)


@pytest.mark.parametrize(
    "name", [{"id": "ada/coach"}, {"name": "ada/coach"}, {"owner": "ada", "name": "coach"}]
)
def test_the_name_may_be_written_in_three_ways(name):
    assert Card.of(name | {"description": "x"}).id == "ada/coach"


def test_tags_are_folded_so_that_a_look_up_finds_them():
    assert parse(tags=["Coaching", " coaching", "WORK"]).tags == ("coaching", "work")


def test_equal_cards_have_one_spelling():
    spelt_out = parse(language="en", tags=[], license=None)
    assert spelt_out.canonical() == parse().canonical()
    assert Card.model_validate_json(Card.of(FULL).canonical()) == Card.of(FULL)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "Coach"}, "card.id"),
        ({"id": 7}, "card.id"),
        ({"id": "ada/coach:prod"}, "card.id"),
        ({"description": ""}, "card.description"),
        ({"description": "  \n"}, "card.description"),
        ({"description": "x" * 2001}, "card.description"),
        ({"description": "a\0b"}, "card.description"),
        ({"description": "\ud800"}, "card.description"),
        ({"description": None}, "card.description"),
        ({"tags": ["a"] * 33}, "card.tags"),
        ({"tags": "coaching"}, "card.tags"),
        ({"tags": ["ok", ""]}, "card.tags[1]"),
        ({"tags": ["x" * 65]}, "card.tags[0]"),
        ({"examples": ["x"] * 513}, "card.examples"),
        ({"examples": ["fine", "x" * 4001]}, "card.examples[1]"),
        ({"examples": [3]}, "card.examples[0]"),
        ({"language": False}, "card.language"),
        ({"evaluation": [{"metric": "m"}]}, "card.evaluation[0].value"),
        ({"evaluation": [{"metric": "m", "value": 1, "rows": -1}]}, "card.evaluation[0].rows"),
        ({"evaluation": [{"metric": "m", "value": "1e999"}]}, "card.evaluation[0].value"),
        ({"temperature": 1}, "card.temperature"),
        ({"chat_template": "x"}, "card.chat_template"),
    ],
)
def test_a_refusal_names_the_field(changes, field):
    with pytest.raises(InvalidCard) as caught:
        parse(**changes)
    assert caught.value.param == field
    assert caught.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "mapping"),
        (b"- a\n- b", "mapping"),
        (b"1: 2", "mapping"),
        (b"{", "not valid JSON"),
        (b'{"id": "a/b", "id": "a/c"}', "appears twice"),
        (b'{"value": NaN}', "NaN"),
        (b'{"a":' * 5000, "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"id: a/b\nid: a/c\n", "appears twice"),
        (b"id: &x a/b\nlicense: *x\n", "anchors and aliases"),
        (b"id: !!python/object:os.system x\n", "tag"),
        (b"id: !!binary aGVsbG8=\n", "tag"),
        (b"id: " + b"[" * 100_000, "nested too deeply"),
        (b"id: [\n", "not valid YAML"),
        (b"created: 2020-99-99", "not valid YAML"),
        (b"id: \xff\xfe", "not valid YAML"),
        (b"a" * (4 * 1024 * 1024 + 1), "at most"),
    ],
)
def test_refuses_texts_that_are_no_card(text, reason):
    with pytest.raises(InvalidCard, match=reason):
        Card.parse(text)


def test_a_billion_laughs_are_refused_at_once():
    lines = ["a: &a [x, x, x, x, x, x, x, x]"]
    lines += [f"{n}: &{n} [{', '.join(['*' + m] * 8)}]" for m, n in pairwise("abcdefghi")]
    with pytest.raises(InvalidCard, match="anchors"):
        Card.parse("\n".join(lines))


def test_a_card_as_large_as_allowed_is_read():
    examples = "".join(f"- {'word ' * 799}end.\n" for _ in range(512))
    card = Card.parse(f"id: {MINIMAL['id']}\ndescription: large\nexamples:\n{examples}")
    assert len(card.examples) == 512


def test_a_card_of_very_many_keys_is_refused():
    with pytest.raises(InvalidCard):
        Card.parse("".join(f"k{n}: 1\n" for n in range(20_000)))


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_any_text_is_a_card_or_is_refused(text):
    try:
        Card.parse(text)
    except InvalidCard as error:
        error.message.encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*FULL, "owner", "name", "other"]), values))
def test_any_fields_make_a_card_or_are_refused(fields):
    try:
        card = Card.of(fields)
    except InvalidCard as error:
        error.message.encode()
    else:
        assert Card.model_validate_json(card.canonical()) == card
