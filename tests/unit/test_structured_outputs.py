"""The field `structured_outputs`: each way to ask for a form, and what is none."""

import json

import pytest

from router.engine import Rules
from router.errors import InvalidRequest
from router.sampling import Sampling
from router.wire.body import parse
from router.wire.chat import ChatRequest
from router.wire.completion import CompletionRequest

HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "dice"}}
SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def chat(asked, **fields):
    body = {"model": "auto", "messages": [HI], "structured_outputs": asked} | fields
    return parse(json.dumps(body).encode(), ChatRequest).generation("id", None, Sampling())


def completion(asked):
    body = {"model": "auto", "prompt": ["a", "b"], "structured_outputs": asked}
    request = parse(json.dumps(body).encode(), CompletionRequest)
    return request.generations("id", None, Sampling())


@pytest.mark.parametrize(
    ("asked", "schema", "rules"),
    [
        (None, None, None),
        ({"json": SCHEMA}, SCHEMA, None),
        ({"json": json.dumps(SCHEMA)}, SCHEMA, None),
        ({"json": {}}, {}, None),
        ({"json_object": True}, {"type": "object"}, None),
        ({"regex": r"\d+"}, None, Rules("regex", r"\d+")),
        ({"choice": ["no", "ü"]}, None, Rules("choice", json.dumps(["no", "ü"]))),
        ({"grammar": 'root ::= "a"'}, None, Rules("grammar", 'root ::= "a"')),
        ({"regex": "a", "json_object": False, "choice": None}, None, Rules("regex", "a")),
        ({"regex": "a", "disable_any_whitespace": True}, None, Rules("regex", "a")),
    ],
)
def test_what_an_answer_must_look_like_reaches_the_engine(asked, schema, rules):
    for found in [chat(asked), *completion(asked)]:
        assert (found.schema and json.loads(found.schema)) == schema
        assert found.rules == rules


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({}, "structured_outputs", "invalid_value"),
        ({"json_object": False}, "structured_outputs", "invalid_value"),
        ({"regex": "a", "choice": ["a"]}, "structured_outputs", "invalid_value"),
        ({"json": {}, "grammar": "start: "}, "structured_outputs", "invalid_value"),
        ("a", "structured_outputs", "invalid_type"),
        ({"json": "{"}, "structured_outputs.json", "invalid_value"),
        ({"json": "[" * 5000}, "structured_outputs.json", "invalid_value"),
        ({"json": "3"}, "structured_outputs.json", "invalid_type"),
        ({"json": " " * 65_537}, "structured_outputs.json", "invalid_value"),
        ({"json": True}, "structured_outputs.json", "invalid_type"),
        ({"regex": ""}, "structured_outputs.regex", "invalid_value"),
        ({"regex": 3}, "structured_outputs.regex", "invalid_type"),
        ({"grammar": ""}, "structured_outputs.grammar", "invalid_value"),
        ({"choice": []}, "structured_outputs.choice", "invalid_value"),
        ({"choice": [""]}, "structured_outputs.choice[0]", "invalid_value"),
        ({"choice": ["a", 3]}, "structured_outputs.choice[1]", "invalid_type"),
        ({"choice": ["a"] * 1001}, "structured_outputs.choice", "invalid_value"),
        ({"choices": ["a"]}, "structured_outputs.choices", "unknown_parameter"),
        ({"structural_tag": "{}"}, "structured_outputs.structural_tag", "unsupported_parameter"),
    ],
)
def test_what_is_no_form_is_refused_by_name(asked, param, code):
    with pytest.raises(InvalidRequest) as error:
        chat(asked)
    assert (error.value.param, error.value.code) == (param, code)


@pytest.mark.parametrize(
    "fields", [{"response_format": FORMAT}, {"tools": [TOOL]}], ids=["response_format", "tools"]
)
def test_one_form_at_a_time_is_served(fields, request):
    named = request.node.callspec.id
    with pytest.raises(InvalidRequest, match=f"beside '{named}'") as error:
        chat({"regex": "a"}, **fields)
    assert error.value.param == "structured_outputs"


def test_what_asks_for_nothing_may_stand_beside_it():
    fields = {"response_format": {"type": "text"}, "tools": [TOOL], "tool_choice": "none"}
    assert chat({"regex": "a"}, **fields).rules == Rules("regex", "a")
