"""Tools over HTTP, with OpenAI's own client: what is asked of the engine, and what comes back."""

import json
from collections.abc import Iterator

import httpx
import openai
import pytest
from patience import HANGS
from scripted import ScriptedEngine
from served import BASE, events, served, service

from router.engine import CallDelta, Delta, Message, Tool, ToolCall, ToolUse, Usage
from router.errors import InvalidRequest, RouterError
from router.sampling import Sampling
from router.wire.body import parse
from router.wire.chat import ChatRequest

ASKED = {"role": "user", "content": "weather forecast for paris"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS},
}
DICE = {"type": "function", "function": {"name": "dice"}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
HISTORY = [ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]
SAID = [
    Delta(0, "So:", 1),
    Delta(0, "", 1, calls=(CallDelta(0, "", "weather"), CallDelta(0, '{"city": '))),
    Delta(0, "", 1, calls=(CallDelta(0, '"Paris"}'), CallDelta(1, "{}", "dice"))),
    Delta(0, "", 1, finish_reason="tool_calls"),
    Usage(7, 4),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with service(tmp_path_factory.mktemp("home")) as made, served(made) as url:
        yield made, url


@pytest.fixture
def engine(running) -> ScriptedEngine:
    running[0].engine.__init__(lambda _: SAID)
    return running[0].engine


@pytest.fixture
def client(running, engine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running[1]}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_calls_come_whole(client, engine):
    answer = client.chat.completions.create(
        model=BASE, messages=[ASKED], tools=[WEATHER, DICE], tool_choice="required"
    )
    [choice] = answer.choices
    first, second = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "So:"
    assert (first.function.name, json.loads(first.function.arguments)) == (
        "weather",
        {"city": "Paris"},
    )
    assert (second.function.name, second.function.arguments) == ("dice", "{}")
    assert first.id != second.id
    assert first.id.startswith("call_")
    use = engine.generations[0].tool_use
    assert [tool.name for tool in use.tools] == ["weather", "dice"]
    assert use.tools[0].description == "Tells it."
    assert json.loads(use.tools[0].parameters) == PARAMETERS
    assert (use.required, use.several, use.only) == (True, None, None)


def test_calls_come_piece_by_piece(client):
    asked = {"model": BASE, "messages": [ASKED], "tools": [WEATHER, DICE]}
    with client.chat.completions.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    message = final.choices[0].message
    assert message.content == "So:"
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("weather", '{"city": "Paris"}'),
        ("dice", "{}"),
    ]
    assert len({call.id for call in message.tool_calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


def test_an_answer_of_calls_alone_has_no_content(client, engine):
    engine.script = lambda _: [
        Delta(0, "", 1, calls=(CallDelta(0, "{}", "dice"),), finish_reason="tool_calls"),
        Usage(1, 1),
    ]
    asked = {"model": BASE, "messages": [ASKED], "tools": [DICE]}
    assert client.chat.completions.create(**asked).choices[0].message.content is None
    [chunk] = client.chat.completions.create(**asked, stream=True)
    assert chunk.choices[0].delta.content is None
    assert chunk.choices[0].delta.tool_calls[0].function.name == "dice"


def test_a_chat_with_results_goes_on_with_whoever_was_asked(client, engine):
    answer = client.chat.completions.create(model="auto", messages=HISTORY, tools=[WEATHER])
    assert answer.model == "bob/weather"
    assert engine.generations[0].prompt == (
        Message("user", ASKED["content"]),
        Message("assistant", "", (ToolCall("weather", '{"city": "Paris"}'),)),
        Message("tool", "sunny"),
    )


def asked(**fields):
    body = parse(json.dumps({"model": "auto", "messages": [ASKED]} | fields).encode(), ChatRequest)
    return body.generation("id", None, Sampling()).tool_use


NOTHING = '{"type": "object", "properties": {}, "additionalProperties": false}'
TOOLS = (Tool("weather", json.dumps(PARAMETERS), "Tells it."), Tool("dice", NOTHING))
NAMED = {"type": "function", "function": {"name": "dice"}}


@pytest.mark.parametrize(
    ("fields", "use"),
    [
        ({}, ToolUse(TOOLS)),
        ({"tool_choice": "auto"}, ToolUse(TOOLS)),
        ({"tool_choice": None}, ToolUse(TOOLS)),
        ({"tool_choice": "none"}, None),
        ({"tools": []}, None),
        ({"tools": None, "tool_choice": "auto"}, None),
        ({"tool_choice": "required"}, ToolUse(TOOLS, required=True)),
        ({"parallel_tool_calls": False}, ToolUse(TOOLS, several=False)),
        ({"parallel_tool_calls": True}, ToolUse(TOOLS, several=True)),
        ({"tool_choice": NAMED}, ToolUse(TOOLS, only="dice", required=True, several=False)),
        ({"tools": [{**DICE, "function": {"name": "dice", "parameters": {}, "strict": True}}]},
         ToolUse(TOOLS[1:])),
    ],
)  # fmt: skip
def test_what_is_asked_of_the_engine(fields, use):
    assert asked(**{"tools": [WEATHER, DICE]} | fields) == use


def test_only_the_named_one_is_callable():
    use = asked(tools=[WEATHER, DICE], tool_choice=NAMED)
    assert use.callable == TOOLS[1:]


def calls(*arguments: object, **more: object):
    return {
        "messages": [
            ASKED,
            {
                "role": "assistant",
                "tool_calls": [
                    CALL | more | {"function": {"name": "weather", "arguments": each}}
                    for each in arguments
                ],
            },
            RESULT,
        ]
    }


@pytest.mark.parametrize(
    "fields",
    [
        calls('{"city": "x"}'),
        calls(""),
        calls("{}", index=0, provider_specific_fields={"a": 1}),
        calls("{}", "{}"),
        {"messages": [ASKED, {"role": "assistant", "content": "x", "tool_calls": []}, ASKED]},
        {"messages": [*HISTORY[:2], RESULT | {"content": [{"type": "text", "text": "sunny"}]}]},
        {"messages": [*HISTORY[:2], RESULT | {"name": "weather"}]},
    ],
)
def test_calls_of_other_servers_can_be_replayed(fields):
    assert asked(**fields) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].custom"),
        ({"tools": [{**DICE, "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{**DICE, "function": {"name": "a", "parameters": {"type": "array"}}}]},
         "tools[0].function.parameters"),
        ({"tools": [DICE, DICE]}, "tools"),
        ({"tools": [DICE] * 129}, "tools"),
        ({"tools": [DICE], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [DICE], "tool_choice": 3}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [DICE], "continue_final_message": True,
          "messages": [ASKED, {"role": "assistant", "content": "So"}]}, "continue_final_message"),
        (calls("[1]"), "messages[1].tool_calls[0].function.arguments"),
        (calls('{"a": ' + "[" * 5000), "messages[1].tool_calls[0].function.arguments"),
        (calls('{"a": NaN}'), "messages[1].tool_calls[0].function.arguments"),
        (calls('{"cut": '), "messages[1].tool_calls[0].function.arguments"),
        ({"messages": [ASKED, RESULT]}, "messages[1].tool_call_id"),
        ({"messages": [*HISTORY[:2], RESULT | {"tool_call_id": "x"}]}, "messages[2].tool_call_id"),
        ({"messages": [*HISTORY[:2], {"role": "tool", "content": "x"}]},
         "messages[2].tool_call_id"),
        ({"messages": [ASKED | {"tool_call_id": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [ASKED | {"tool_calls": [CALL]}]}, "messages[0].tool_calls"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(fields, param):
    with pytest.raises(RouterError) as refusal:
        asked(**fields)
    assert isinstance(refusal.value, InvalidRequest) or "custom" in param
    assert refusal.value.param == param
    assert f"'{param}'" in refusal.value.message


def test_a_stream_of_calls_is_made_of_openais_chunks(running, engine):
    body = {"model": BASE, "messages": [ASKED], "tools": [WEATHER, DICE], "stream": True}
    raw = httpx.post(f"{running[1]}/v1/chat/completions", json=body, timeout=HANGS)
    deltas = [event["choices"][0]["delta"] for event in events(raw.text)[:-1]]
    assert deltas[0] == {"role": "assistant", "content": "So:"}
    begun, more = deltas[1]["tool_calls"]
    assert set(begun) == {"index", "id", "type", "function"}
    assert begun["function"] == {"name": "weather", "arguments": ""}
    assert more == {"index": 0, "function": {"arguments": '{"city": '}}
    assert "content" not in deltas[1]
