"""The Responses API, asked for with OpenAI's own client."""

import json

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel
from scripted import thinker
from served import BASE, served, service
from test_router_tools import PARAMETERS, SAID

from registry.scopes import Scope
from router.engine import Delta, Message, ToolCall, Usage
from router.errors import Unavailable

FORECAST = "weather forecast for paris"
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells it.",
    "parameters": PARAMETERS,
    "strict": True,
}
DICE = {"type": "function", "name": "dice", "parameters": None, "strict": None}


@pytest.fixture
def made(tmp_path):
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def client(made):
    with served(made) as url, OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        yield client


def test_a_text_is_answered_by_who_fits(made, client):
    answer = client.responses.create(model="auto", input=FORECAST, instructions="be brief")
    assert answer.output_text == FORECAST
    assert (answer.status, answer.model, answer.object) == ("completed", "bob/weather", "response")
    assert answer.id.startswith("resp-")
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.model_extra["routing"]["specialist"] == "bob/weather"
    [asked] = made.engine.generations
    assert asked.prompt == (Message("system", "be brief"), Message("user", FORECAST))


def test_a_conversation_is_sent_back_as_it_came(made, client):
    first = client.responses.create(model=BASE, input="hello")
    turns = [{"role": "user", "content": "hello"}, *first.output]
    turns.append({"role": "user", "content": [{"type": "input_text", "text": "and again"}]})
    client.responses.create(
        model=BASE, input=turns, max_output_tokens=9, temperature=0, top_p=0.5, store=False,
        metadata={"a": "b"}, truncation="disabled",
    )  # fmt: skip
    asked = made.engine.generations[-1]
    assert [(turn.role, turn.content) for turn in asked.prompt] == [
        ("user", "hello"), ("assistant", "hello"), ("user", "and again"),
    ]  # fmt: skip
    assert asked.sampling.set == {"max_tokens": 9, "temperature": 0, "top_p": 0.5}


def test_a_stream_grows_to_the_same_answer(client):
    whole = client.responses.create(model=BASE, input="one two three")
    with client.responses.stream(model=BASE, input="one two three") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == final.output_text == whole.output_text == "one two three"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.usage == whole.usage


def test_what_was_thought_comes_before_the_answer(made, client):
    made.engine.script = thinker
    answer = client.responses.create(model=BASE, input="hi")
    thought, said = answer.output
    assert (thought.type, thought.content[0].text, thought.summary) == ("reasoning", "I see.", [])
    assert (said.type, answer.output_text) == ("message", "Yes.")
    assert answer.usage.output_tokens_details.reasoning_tokens == 2
    assert len({thought.id, said.id, answer.id}) == 3


def test_a_stream_tells_what_is_thought_as_it_comes(made, client):
    made.engine.script = thinker
    with client.responses.stream(model=BASE, input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "message"]
    told = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert told == ["I ", "see."]
    [whole] = [event for event in events if event.type == "response.reasoning_text.done"]
    assert (whole.text, whole.output_index, whole.content_index) == ("I see.", 0, 0)
    places = {event.output_index for event in events if "output_text" in event.type}
    assert places == {1}
    assert final.output_text == "Yes."


def test_thoughts_that_come_to_nothing_are_followed_by_an_empty_answer(made, client):
    made.engine.script = lambda _: [
        Delta(0, "", 1, thought="I", finish_reason="length"), Usage(1, 1, thought_tokens=1)
    ]  # fmt: skip
    for answer in (
        client.responses.create(model=BASE, input="hi"),
        [*client.responses.create(model=BASE, input="hi", stream=True)][-1].response,
    ):
        assert [item.type for item in answer.output] == ["reasoning", "message"]
        assert (answer.output_text, answer.status) == ("", "incomplete")


def test_what_was_thought_can_be_sent_back(made, client):
    made.engine.script = thinker
    first = client.responses.create(model=BASE, input="hi")
    call = {"type": "function_call", "call_id": "c", "name": "dice", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "6"}
    others = {"type": "reasoning", "id": "x", "summary": [], "encrypted_content": "y"}
    turns = [
        {"role": "user", "content": "hi"}, *first.output, {"role": "user", "content": "roll"},
        first.output[0], call, result, others, {"role": "assistant", "content": "6"},
        first.output[0], {"role": "user", "content": "bye"},
    ]  # fmt: skip
    client.responses.create(model=BASE, input=turns)
    asked = made.engine.generations[-1].prompt
    assert [(turn.role, turn.content, turn.thoughts, len(turn.calls)) for turn in asked] == [
        ("user", "hi", "", 0), ("assistant", "Yes.", "I see.", 0), ("user", "roll", "", 0),
        ("assistant", "", "I see.", 1), ("tool", "6", "", 0), ("assistant", "6", "", 0),
        ("user", "bye", "", 0),
    ]  # fmt: skip


def test_what_was_thought_is_kept(made, client):
    made.engine.script = thinker
    first = client.responses.create(model=BASE, input="hi", store=True)
    kept = client.responses.retrieve(first.id)
    assert kept.output == first.output
    second = client.responses.create(
        model=BASE, input="on", previous_response_id=first.id, store=True
    )
    assert made.engine.generations[-1].prompt[1].thoughts == "I see."
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message", "reasoning", "message", "message"]


@pytest.mark.parametrize(
    ("reasoning", "thought"),
    [
        ({}, None),
        ({"effort": None, "summary": "auto"}, None),
        ({"effort": "none"}, 0),
        ({"effort": "minimal"}, 256),
        ({"effort": "xhigh"}, None),
    ],
)
def test_it_may_be_said_how_much_is_thought(made, client, reasoning, thought):
    answer = client.responses.create(model=BASE, input="hi", reasoning=reasoning)
    assert made.engine.generations[0].most_thought == thought
    assert answer.reasoning.effort == reasoning.get("effort")


def test_an_answer_that_is_cut_short_is_incomplete(made, client):
    made.engine.script = lambda _: [Delta(0, "half", 1, finish_reason="length"), Usage(1, 1)]
    answer = client.responses.create(model=BASE, input="hi")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    *_, last = client.responses.create(model=BASE, input="hi", stream=True)
    assert last.type == "response.incomplete"
    assert last.response.output[0].status == "incomplete"


def test_an_error_on_the_way_is_an_event(made, client):
    made.engine.script = lambda _: [Delta(0, "half", 1), Unavailable(1.0, "the engine died")]
    with pytest.raises(openai.APIError, match="the engine died"):
        list(client.responses.create(model=BASE, input="hi", stream=True))
    made.engine.script = lambda _: [Unavailable(1.0, "the engine died")]
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model=BASE, input="hi", stream=True)


def test_functions_are_called(made, client):
    made.engine.script = lambda _: SAID
    asked = {"model": BASE, "input": FORECAST, "tools": [WEATHER, DICE], "tool_choice": "required"}
    answer = client.responses.create(**asked, parallel_tool_calls=False)
    text, first, second = answer.output
    assert (text.type, answer.output_text, answer.status) == ("message", "So:", "completed")
    assert (first.type, first.name, first.arguments) == (
        "function_call",
        "weather",
        '{"city": "Paris"}',
    )
    assert (second.name, second.arguments, second.status) == ("dice", "{}", "completed")
    assert len({first.id, second.id, first.call_id, second.call_id}) == 4
    assert [tool.name for tool in answer.tools] == ["weather", "dice"]
    assert (answer.tool_choice, answer.parallel_tool_calls) == ("required", False)
    use = made.engine.generations[-1].tool_use
    assert [(tool.name, tool.description) for tool in use.tools] == [
        ("weather", "Tells it."),
        ("dice", None),
    ]
    assert json.loads(use.tools[0].parameters) == PARAMETERS
    assert (use.required, use.several, use.only) == (True, False, None)
    client.responses.create(**asked | {"tool_choice": {"type": "function", "name": "dice"}})
    assert made.engine.generations[-1].tool_use.only == "dice"


def test_calls_and_their_results_are_sent_back_as_they_came(made, client):
    made.engine.script = lambda _: SAID
    first = client.responses.create(model=BASE, input=FORECAST, tools=[WEATHER, DICE])
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"of {item.name}"}
        for item in first.output
        if item.type == "function_call"
    ]
    asked = [{"role": "user", "content": FORECAST}, *first.output, *results]
    client.responses.create(model=BASE, input=asked, tools=[WEATHER, DICE])
    calls = (ToolCall("weather", '{"city": "Paris"}'), ToolCall("dice", "{}"))
    assert made.engine.generations[-1].prompt == (
        Message("user", FORECAST),
        Message("assistant", "So:", calls=calls),
        Message("tool", "of weather"),
        Message("tool", "of dice"),
    )


def shown(answer):
    """What its items are and hold."""
    texts = (getattr(item, "arguments", None) or item.content[0].text for item in answer.output)
    return [(item.type, item.status, text) for item, text in zip(answer.output, texts, strict=True)]


@pytest.mark.parametrize("said", ["So:", ""])
def test_a_stream_of_calls_grows_to_the_same_answer(made, client, said):
    made.engine.script = lambda _: [Delta(0, said, 1), *SAID[1:]]
    asked = {"model": BASE, "input": FORECAST, "tools": [WEATHER, DICE]}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert shown(final) == shown(whole)
    begun = [event.item for event in events if event.type == "response.output_item.added"]
    assert [(item.id, item.status) for item in begun] == [
        (item.id, "in_progress") for item in final.output
    ]
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [(event.name, event.arguments) for event in done] == [
        ("weather", '{"city": "Paris"}'),
        ("dice", "{}"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))


def told(made):
    return [(turn.role, turn.content) for turn in made.engine.generations[-1].prompt]


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_answer_is_gone_on_with(made, client, stream):
    def ask(text, **more):
        answer = client.responses.create(model=BASE, input=text, stream=stream, **more)
        return [*answer][-1].response if stream else answer

    first = ask("one", store=True, instructions="be brief", metadata={"of": "mine"})
    second = ask("two", store=True, previous_response_id=first.id)
    third = ask("three", previous_response_id=second.id)
    assert told(made) == [
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert (second.previous_response_id, second.store) == (first.id, True)
    assert (third.store, first.metadata) == (False, {"of": "mine"})
    assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
    for gone in (third.id, "resp-1"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(gone)


def test_a_specialist_stays_while_a_kept_conversation_does(client):
    first = client.responses.create(model="auto", input=FORECAST, store=True)
    then = client.responses.create(
        model="auto", input="and tomorrow?", previous_response_id=first.id
    )
    assert (first.model, then.model) == ("bob/weather", "bob/weather")


def test_a_call_of_a_kept_answer_has_its_result(made, client):
    made.engine.script = lambda _: SAID
    asked = {"model": BASE, "tools": [WEATHER, DICE]}
    first = client.responses.create(**asked, input=FORECAST, store=True)
    calls = {item.name: item.call_id for item in first.output if item.type == "function_call"}
    result = {"type": "function_call_output", "call_id": calls["dice"], "output": "6"}
    client.responses.create(**asked, input=[result], previous_response_id=first.id)
    assert [turn.role for turn in made.engine.generations[-1].prompt] == [
        "user", "assistant", "tool",
    ]  # fmt: skip
    assert [call.name for call in made.engine.generations[-1].prompt[1].calls] == [
        "weather", "dice",
    ]  # fmt: skip
    other = result | {"call_id": "call_1"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**asked, input=[other], previous_response_id=first.id)
    assert caught.value.param == "input[0].call_id"


def test_what_a_kept_answer_was_to_is_shown(made, client):
    made.engine.script = lambda _: SAID
    asked = {"model": BASE, "tools": [WEATHER, DICE], "store": True}
    first = client.responses.create(**asked, input=FORECAST, instructions="be brief")
    calls = [item for item in first.output if item.type == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "6"} for call in calls
    ]
    last = client.responses.create(**asked, input=results, previous_response_id=first.id)
    items = client.responses.input_items.list
    whole = list(items(last.id, order="asc", limit=2))
    assert [each.type for each in whole] == [
        *("message", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output"),
    ]
    assert [whole[at].content[0].type for at in (0, 1)] == ["input_text", "output_text"]
    assert [call.call_id for call in whole[2:4]] == [call.call_id for call in calls]
    assert whole[:0:-1] == list(items(last.id, limit=4))[:-1]
    assert len({each.id for each in whole}) == len(whole)
    # They can be sent as they came.
    client.responses.create(model=BASE, input=[each.to_dict() for each in whole])
    prompts = [each.prompt for each in made.engine.generations[-2:]]
    assert prompts[0] == prompts[1]
    assert [each.content[0].text for each in items(first.id)] == [FORECAST]
    with pytest.raises(openai.NotFoundError):
        items("resp-1")


def test_what_was_forgotten_is_not_gone_on_with(client):
    kept = client.responses.create(model=BASE, input="one", store=True)
    client.responses.delete(kept.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=BASE, input="two", previous_response_id=kept.id)
    assert caught.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(kept.id)


def test_a_kept_answer_is_its_askers(made, client):
    keys = [made.registry.keys.create(name, [Scope.INFER], name)[1] for name in ("ada", "bob")]
    ada, bob = (client.with_options(api_key=key) for key in keys)
    kept = ada.responses.create(model=BASE, input="one", store=True)
    assert ada.responses.retrieve(kept.id).id == kept.id
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(kept.id)
    with pytest.raises(openai.NotFoundError):
        bob.responses.delete(kept.id)
    with pytest.raises(openai.BadRequestError):
        bob.responses.create(model=BASE, input="two", previous_response_id=kept.id)


def test_a_kept_answer_is_learnt_from_and_is_no_chat(made, client):
    asked = {"model": "bob/weather", "input": FORECAST, "instructions": "be brief"}
    kept = client.responses.create(**asked, tools=[DICE], store=True, metadata={"of": "mine"})
    chat = client.chat.completions.create(
        model=BASE, messages=[{"role": "user", "content": "hi"}], store=True
    )
    assert [each.id for each in client.chat.completions.list()] == [chat.id]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(chat.id)
    [shown], more = made.registry.conversations.of_specialist("bob/weather", 10)
    assert not more
    assert (shown.id, shown.metadata) == (kept.id, {"of": "mine"})
    assert shown.request == {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": FORECAST},
        ],
        "tools": [{"type": "function", "function": {"name": "dice"}}],
    }
    assert shown.answer["choices"][0]["message"]["content"] == kept.output_text


def test_tokens_are_counted(made, client):
    count = client.responses.input_tokens.count
    assert count(model=BASE, input=FORECAST).input_tokens == 4
    first = client.responses.create(model=BASE, input="one", store=True)
    count(model="auto", input="two", previous_response_id=first.id)
    assert told(made) == [("user", "one"), ("assistant", "one"), ("user", "two")]
    assert made.engine.generations[-1].n == 0
    with pytest.raises(openai.NotFoundError):
        count(model="nobody", input="two")


class Town(BaseModel):
    name: str


def test_an_answer_is_parsed(made, client):
    made.engine.script = lambda _: [
        Delta(0, '{"name": "Oslo"}', 3, finish_reason="stop"), Usage(1, 3)
    ]  # fmt: skip
    answer = client.responses.parse(model=BASE, input="hi", text_format=Town)
    assert answer.output_parsed == Town(name="Oslo")
    assert '"name"' in made.engine.generations[-1].schema


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp-1"}, "previous_response_id"),
        ({"previous_response_id": "x" * 300}, "previous_response_id"),
        ({"store": "yes"}, "store"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [DICE, DICE]}, "tools"),
        ({"tools": [DICE], "tool_choice": {"type": "function", "name": "cards"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": [{"type": "reasoning", "content": ["x"]}]}, "input[0].content[0]"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"input": [{"type": "function_call", "call_id": "1", "name": "dice", "arguments": "["}]},
         "input[0].arguments"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
         "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]},
         "input[0].call_id"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_by_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**({"model": BASE, "input": "hi"} | fields))
    assert caught.value.param == param
