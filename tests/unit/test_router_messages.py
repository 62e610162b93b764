"""The Messages API, asked for with Anthropic's own client."""

import json

import anthropic
import pytest
from anthropic import Anthropic
from pydantic import BaseModel
from scripted import thinker
from served import BASE, http_client, register, served, service
from test_router_tools import PARAMETERS, SAID

from registry.scopes import Scope
from router.engine import CallDelta, Delta, Message, ToolCall, Usage
from router.errors import ContextOverflow, Overloaded, Unavailable

FORECAST = "weather forecast for paris"
ASKED = {"role": "user", "content": FORECAST}
WEATHER = {
    "name": "weather",
    "description": "Tells it.",
    "input_schema": PARAMETERS,
    "cache_control": {"type": "ephemeral"},
}
DICE = {"type": "custom", "name": "dice", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with service(tmp_path_factory.mktemp("home")) as made, served(made) as url:
        yield made, url


@pytest.fixture
def made(running):
    running[0].engine.__init__()
    return running[0]


@pytest.fixture
def url(made, running):
    return running[1]


@pytest.fixture
def client(url):
    with Anthropic(base_url=url, api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def closed(tmp_path):
    """A service that asks for keys, its address, and a key of ada's."""
    with service(tmp_path) as made, served(made) as url:
        yield made, url, made.registry.keys.create("ada", [Scope.INFER], "ada")[1]


def ask(client, *messages, **fields):
    asked = {"model": BASE, "max_tokens": 9, "messages": messages or [ASKED]}
    return client.messages.create(**asked | fields)


def prompt(made):
    return [(turn.role, turn.content) for turn in made.engine.generations[-1].prompt]


def test_a_text_is_answered_by_who_fits(made, client):
    answer = ask(client, model="auto", system="be brief")
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": FORECAST}]
    assert (answer.model, answer.role, answer.type) == ("bob/weather", "assistant", "message")
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.id.startswith("msg-")
    assert answer.model_extra["routing"]["specialist"] == "bob/weather"
    assert prompt(made) == [("system", "be brief"), ("user", FORECAST)]


def test_everything_that_is_asked_reaches_the_engine(made, client):
    first = ask(client)
    text = {"type": "text", "text": "and ", "cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    ask(
        client,
        ASKED,
        {"role": "assistant", "content": [thought, *first.content]},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [text, text | {"text": "again"}]},
        system=[text | {"text": "be "}, text | {"text": "brief"}],
        extra_body={"temperature": 0, "top_p": 0.5, "top_k": 3},
        stop_sequences=["END"],
        metadata={"user_id": "42"},
        service_tier="standard_only",
        thinking={"type": "disabled"},
    )
    assert prompt(made) == [
        ("system", "be brief"),
        ("user", FORECAST),
        ("assistant", FORECAST),
        ("system", "be kind"),
        ("user", "and again"),
    ]
    asked = made.engine.generations[-1]
    assert asked.sampling.set == {
        "max_tokens": 9, "temperature": 0, "top_p": 0.5, "top_k": 3, "stop": ("END",),
    }  # fmt: skip
    assert not asked.continued


THOUGHT = {"type": "thinking", "thinking": "I see.", "signature": ""}
SAID_AFTER = {"type": "text", "text": "Yes."}


def test_thoughts_are_told_to_who_wants_them(made, client):
    made.engine.script = thinker
    answer = ask(client, thinking={"type": "adaptive"})
    assert [block.to_dict() for block in answer.content] == [THOUGHT, SAID_AFTER]
    assert made.engine.generations[-1].most_thought is None
    with client.messages.stream(
        model=BASE, max_tokens=9, messages=[ASKED], thinking={"type": "adaptive"}
    ) as stream:
        told = [event.thinking for event in stream if event.type == "thinking"]
        final = stream.get_final_message()
    assert told == ["I ", "see."]
    assert [block.to_dict() for block in final.content] == [THOUGHT, SAID_AFTER]


def test_thoughts_may_have_a_budget(made, client):
    made.engine.script = thinker
    answer = ask(client, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert made.engine.generations[-1].most_thought == 1024


@pytest.mark.parametrize(("effort", "most"), [("low", 1024), ("medium", 8192), ("max", None)])
def test_thoughts_take_no_more_than_the_effort(made, client, effort, most):
    ask(client, thinking={"type": "adaptive"}, output_config={"effort": effort})
    assert made.engine.generations[-1].most_thought == most


def test_no_effort_makes_thoughts_of_who_wants_none(made, client):
    ask(client, output_config={"effort": "high"})
    assert made.engine.generations[-1].most_thought == 0


@pytest.mark.parametrize("fields", [{}, {"thinking": {"type": "disabled"}}])
def test_who_wants_no_thoughts_gets_none(made, client, fields):
    made.engine.script = thinker
    assert [block.to_dict() for block in ask(client, **fields).content] == [SAID_AFTER]
    assert made.engine.generations[-1].most_thought == 0
    asked = {"model": BASE, "max_tokens": 9, "messages": [ASKED]}
    with client.messages.stream(**asked, **fields) as stream:
        final = stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [SAID_AFTER]


def test_thoughts_that_come_to_nothing_are_followed_by_an_empty_text(made, client):
    made.engine.script = lambda _: [
        Delta(0, "", 1, thought="I see.", finish_reason="length"), Usage(1, 1, thought_tokens=1)
    ]  # fmt: skip
    fields = {"model": BASE, "max_tokens": 1, "messages": [ASKED], "thinking": {"type": "adaptive"}}
    with client.messages.stream(**fields) as stream:
        final = stream.get_final_message()
    for answer in (client.messages.create(**fields), final):
        assert [block.to_dict() for block in answer.content] == [THOUGHT, SAID_AFTER | {"text": ""}]
        assert answer.stop_reason == "max_tokens"


def test_what_was_thought_can_be_sent_back(made, client):
    hidden = {"type": "redacted_thinking", "data": "x"}
    ask(client, ASKED, {"role": "assistant", "content": [hidden, THOUGHT, SAID_AFTER]}, ASKED)
    assert [turn.thoughts for turn in made.engine.generations[-1].prompt] == ["", "I see.", ""]


def test_what_was_begun_is_gone_on_with(made, client):
    ask(client, ASKED, {"role": "assistant", "content": "It will be"})
    assert made.engine.generations[-1].continued
    assert prompt(made)[-1] == ("assistant", "It will be")


def test_a_stream_grows_to_the_same_answer(client):
    whole = ask(client, {"role": "user", "content": "one two three"})
    asked = {"role": "user", "content": "one two three"}
    with client.messages.stream(model=BASE, max_tokens=9, messages=[asked]) as stream:
        assert "".join(stream.text_stream) == "one two three"
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert (final.usage, final.stop_reason) == (whole.usage, whole.stop_reason)
    events = list(ask(client, asked, stream=True))
    assert events[0].message.usage.input_tokens == final.usage.input_tokens
    kinds = [event.type for event in events]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


ENDS = [
    ("stop", None, "end_turn"),
    ("stop", "END", "stop_sequence"),
    ("length", None, "max_tokens"),
    ("tool_calls", "END", "tool_use"),
]


@pytest.mark.parametrize(("finish", "stopped_by", "reason"), ENDS)
def test_why_an_answer_ends_is_told(made, client, finish, stopped_by, reason):
    made.engine.script = lambda _: [
        Delta(0, "half", 1),
        Delta(0, "", 1, finish_reason=finish, stopped_by=stopped_by),
        Usage(5, 2, 3),
    ]
    answer = ask(client)
    told = stopped_by if reason == "stop_sequence" else None
    assert (answer.stop_reason, answer.stop_sequence) == (reason, told)
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (2, 3)
    assert answer.usage.output_tokens == 2
    *_, last, _ = ask(client, stream=True)
    assert (last.delta.stop_reason, last.delta.stop_sequence) == (reason, told)
    assert (last.usage.input_tokens, last.usage.output_tokens) == (2, 2)


def test_an_answer_of_nothing_has_a_text(made, client):
    made.engine.script = lambda _: [Delta(0, "", 1, finish_reason="stop"), Usage(1, 1)]
    assert ask(client).content[0].text == ""
    with client.messages.stream(model=BASE, max_tokens=9, messages=[ASKED]) as stream:
        assert stream.get_final_message().content[0].text == ""


def test_tools_are_called(made, client):
    made.engine.script = lambda _: SAID
    answer = ask(client, tools=[WEATHER, DICE], tool_choice={"type": "any"})
    text, first, second = answer.content
    assert (text.text, answer.stop_reason) == ("So:", "tool_use")
    assert (first.type, first.name, first.input) == ("tool_use", "weather", {"city": "Paris"})
    assert (second.name, second.input) == ("dice", {})
    assert first.id != second.id
    use = made.engine.generations[-1].tool_use
    assert [(tool.name, tool.description) for tool in use.tools] == [
        ("weather", "Tells it."),
        ("dice", None),
    ]
    assert json.loads(use.tools[0].parameters) == PARAMETERS
    assert (use.required, use.several, use.only) == (True, None, None)


@pytest.mark.parametrize(
    ("choice", "use"),
    [
        ({"type": "auto"}, (False, None, None)),
        ({"type": "auto", "disable_parallel_tool_use": True}, (False, False, None)),
        ({"type": "any", "disable_parallel_tool_use": True}, (True, False, None)),
        ({"type": "tool", "name": "dice"}, (True, False, "dice")),
    ],
)
def test_which_tools_are_called_can_be_chosen(made, client, choice, use):
    ask(client, tools=[WEATHER, DICE], tool_choice=choice)
    asked = made.engine.generations[-1].tool_use
    assert (asked.required, asked.several, asked.only) == use


def test_no_tool_is_called_if_none_may_be(made, client):
    ask(client, tools=[WEATHER], tool_choice={"type": "none"})
    assert made.engine.generations[-1].tool_use is None


def test_calls_and_their_results_are_sent_back_as_they_came(made, client):
    made.engine.script = lambda _: SAID
    first = ask(client, tools=[WEATHER, DICE])
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"of {block.name}"}
        for block in first.content
        if block.type == "tool_use"
    ]
    failed = results[1] | {"content": [{"type": "text", "text": "lost"}], "is_error": True}
    said = {"type": "text", "text": "go on"}
    ask(
        client,
        ASKED,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [results[0], failed, said]},
        tools=[WEATHER, DICE],
    )
    calls = (ToolCall("weather", '{"city": "Paris"}'), ToolCall("dice", "{}"))
    assert made.engine.generations[-1].prompt == (
        Message("user", FORECAST),
        Message("assistant", "So:", calls=calls),
        Message("tool", "of weather"),
        Message("tool", "lost"),
        Message("user", "go on"),
    )


@pytest.mark.parametrize("said", ["So:", ""])
def test_a_stream_of_calls_grows_to_the_same_answer(made, client, said):
    made.engine.script = lambda _: [Delta(0, said, 1), *SAID[1:]]
    asked = {"model": BASE, "max_tokens": 9, "messages": [ASKED], "tools": [WEATHER, DICE]}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    shown = [
        [(block.type, getattr(block, "input", None)) for block in answer.content]
        for answer in (final, whole)
    ]
    assert shown[0] == shown[1]
    assert len(shown[0]) == 2 + bool(said)


def test_a_call_that_is_cut_short_has_what_there_is(made, client):
    begun = CallDelta(0, '{"city": "Par', "weather")
    made.engine.script = lambda _: [
        Delta(0, "", 3, calls=(begun,), finish_reason="length"), Usage(1, 3)
    ]  # fmt: skip
    answer = ask(client, tools=[WEATHER])
    assert (answer.stop_reason, answer.content[0].name) == ("max_tokens", "weather")
    assert answer.content[0].input == {}


class Town(BaseModel):
    name: str


def test_an_answer_is_parsed(made, client):
    text = '{"name": "Oslo"}'
    made.engine.script = lambda _: [Delta(0, text, 3, finish_reason="stop"), Usage(1, 3)]
    asked = {"model": BASE, "max_tokens": 9, "messages": [ASKED]}
    answer = client.messages.parse(**asked, output_format=Town)
    assert answer.parsed_output == Town(name="Oslo")
    assert '"name"' in made.engine.generations[-1].schema


def test_an_error_on_the_way_is_an_event(made, client):
    made.engine.script = lambda _: [Delta(0, "half", 1), Unavailable(1.0, "the engine died")]
    with pytest.raises(anthropic.APIStatusError, match="the engine died") as caught:
        list(ask(client, stream=True))
    assert caught.value.type == "overloaded_error"
    made.engine.script = lambda _: [Overloaded()]
    with pytest.raises(anthropic.RateLimitError) as caught:
        ask(client, stream=True)
    assert caught.value.type == "rate_limit_error"


def test_an_unknown_model_is_told_in_anthropics_shape(client, url):
    with pytest.raises(anthropic.NotFoundError, match="There is no model 'nobody'") as caught:
        ask(client, model="nobody")
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert caught.value.body["error"]["code"] == "model_not_found"
    with http_client(url) as http:
        for path in ("/v1/messages/", "/v1/messages/1", "/v1/messages?a=%00"):
            assert http.post(path, content=b"{").json()["type"] == "error"
        assert "type" not in http.post("/v1/messages-of-others").json()


def test_what_nobody_foresaw_tells_nothing_of_the_inside(made, client):
    made.engine.script = lambda _: [ValueError("secret")]
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(client)
    assert caught.value.type == "api_error"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_a_key_comes_by_either_header(closed, header):
    _, url, key = closed
    headers = {header: key if header == "x-api-key" else f"Bearer {key}"}
    asked = {"model": BASE, "max_tokens": 9, "messages": [ASKED]}
    with http_client(url) as http:
        assert http.post("/v1/messages", json=asked, headers=headers).status_code == 200
        for wrong in ({}, {"x-api-key": "mk_1"}):
            refused = http.post("/v1/messages", json=asked, headers=wrong)
            assert refused.status_code == 401
            assert refused.json()["error"]["type"] == "authentication_error"


def test_events_are_named_by_their_type(url):
    asked = {"model": BASE, "messages": [ASKED], "stream": True}
    with http_client(url) as http:
        lines = http.post("/v1/messages", json=asked).text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    datas = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert names == [data["type"] for data in datas]


CALL = {"type": "tool_use", "id": "1", "name": "dice", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "6"}


def said(role, *blocks):
    return {"role": role, "content": list(blocks)}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [said("user", {"type": "image", "source": {}})]}, "messages[0].content[0]"),
        ({"messages": [said("user", CALL)]}, "messages[0].content[0].type"),
        ({"messages": [ASKED, said("assistant", RESULT)]}, "messages[1].content[0].type"),
        ({"messages": [said("user", RESULT)]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [ASKED, said("assistant", CALL)]}, "messages[1]"),
        ({"messages": [ASKED, {"role": "assistant", "content": " "}]}, "messages[1]"),
        ({"messages": [ASKED, {"role": "assistant", "content": "So"}], "tools": [DICE]},
         "messages[1]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"temperature": 3}}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [DICE | {"input_schema": {"type": "string"}}]}, "tools[0].input_schema"),
        ({"tools": [DICE, DICE]}, "tools"),
        ({"tools": [DICE], "tool_choice": {"type": "tool", "name": "cards"}}, "tool_choice"),
        ({"tools": [DICE], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"extra_body": {"n": 2}}, "n"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_by_name(client, fields, param):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.body["error"]["param"] == param


def test_tokens_are_counted(made, client):
    asked = {"messages": [ASKED], "system": "be brief", "tools": [WEATHER]}
    for model in ("auto", BASE, "bob/weather"):
        assert client.messages.count_tokens(model=model, **asked).input_tokens == 4
    assert not made.engine.expected
    counted = made.engine.generations[-1]
    assert (counted.n, len(counted.prompt), len(counted.tool_use.tools)) == (0, 2, 1)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", **asked)
    made.engine.full = True
    with pytest.raises(anthropic.RateLimitError):
        client.messages.count_tokens(model=BASE, **asked)
    made.engine.full = False
    made.engine.script = lambda _: [ContextOverflow(9000, 8192)]
    with pytest.raises(anthropic.BadRequestError, match="at least 9000 tokens"):
        client.messages.count_tokens(model=BASE, **asked)


def test_a_private_specialist_counts_for_nobody_else(closed):
    made, url, ada = closed
    register(made.registry, "ada/secret")
    made.follower.refresh()
    bob = made.registry.keys.create("bob", [Scope.INFER], "bob")[1]
    with Anthropic(base_url=url, api_key=ada, max_retries=0) as client:
        count = client.messages.count_tokens
        assert count(model="ada/secret", messages=[ASKED]).input_tokens == 4
        other = client.with_options(api_key=bob).messages.count_tokens
        with pytest.raises(anthropic.NotFoundError):
            other(model="ada/secret", messages=[ASKED])


def test_models_are_listed(client):
    listed = list(client.models.list())
    assert [model.id for model in listed][:2] == ["auto", BASE]
    assert {"ada/french", "bob/weather"} == {model.id for model in listed[2:]}
    shown = client.models.retrieve("bob/weather")
    assert (shown.type, shown.display_name, shown.lifecycle) == ("model", "bob/weather", "active")
    assert shown.created_at in [model.created_at for model in listed]
    assert shown.created_at.tzinfo is not None


def test_steps_are_taken(client):
    steps = {"steps": [{"model": BASE}, {"model": BASE, "prompt": "Say {step-1}"}]}
    answer = ask(client, model="auto", extra_body={"routing": steps})
    assert [step["name"] for step in answer.model_extra["routing"]["steps"]] == ["step-1"]
    assert answer.content[0].text == f"Say {FORECAST}"


def test_who_answered_can_be_left_out(client):
    assert "routing" not in ask(client, extra_body={"routing": False}).model_extra
