"""Requests that several specialists answer, in steps."""

import json
import socket
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import HANGS
from scripted import Hold, echo
from served import BASE, FRENCH, WEATHER, events, http_client, served, service

from router.engine import Delta
from router.errors import Unavailable
from router.routing.plan import HEAD, InvalidPlan, Plan, Step, planned, split

REQUEST = "good morning"
HEADERS = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
)
CHAIN = [
    {"model": "ada/french", "prompt": "in french: {request}"},
    {"model": "bob/weather", "prompt": "and the weather? {step-1}"},
]
FORK = [
    {"name": "a", "model": "ada/french", "prompt": "french {request}"},
    {"name": "b", "model": "bob/weather", "prompt": "weather {request}", "after": []},
    {"name": "both", "model": BASE, "prompt": "{a} / {b}", "after": ["a", "b"]},
]


@pytest.fixture
def made(tmp_path):
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def http(made):
    with served(made) as url, http_client(url) as http:
        yield http


def ask(http, routing, text=REQUEST, path="/v1/chat/completions", **fields):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "routing": routing}
    return http.post(path, json=body | fields)


def content(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def asked(made):
    """What the engine was asked: adapters, and the texts of the last turns."""
    return [(each.adapter, each.prompt[-1].content) for each in made.engine.generations]


def digest(made, specialist):
    return made.registry.get(specialist).digest


def test_each_step_works_on_what_came_of_those_before_it(made, http):
    answer = ask(http, {"steps": CHAIN})
    assert content(answer) == "and the weather? in french: good morning"
    assert asked(made) == [
        (digest(made, "ada/french"), "in french: good morning"),
        (digest(made, "bob/weather"), "and the weather? in french: good morning"),
    ]
    body = answer.json()
    assert (body["model"], body["routing"]["specialist"]) == ("bob/weather", "bob/weather")
    [step] = body["routing"]["steps"]
    assert (step["name"], step["specialist"], step["version"]) == ("step-1", "ada/french", 1)
    assert (step["content"], step["error"]) == ("in french: good morning", None)
    assert not body["routing"]["incomplete"]
    # Four words in and out, and seven.
    assert body["usage"]["total_tokens"] == 22


def test_steps_that_wait_for_nothing_run_side_by_side(made, http):
    holds = []

    def script(generation):
        if "/" in generation.prompt[-1].content:
            return echo(generation)
        holds.append(Hold())
        if len(holds) == 2:
            for hold in holds:
                hold.release()
        return [holds[-1], *echo(generation)]

    made.engine.script = script
    answer = ask(http, {"steps": FORK})
    assert content(answer) == "french good morning / weather good morning"
    assert [step["name"] for step in answer.json()["routing"]["steps"]] == ["a", "b"]


def failing(made, specialist):
    lost = digest(made, specialist)

    def script(generation):
        return [Unavailable(1.0, "It is away.")] if generation.adapter == lost else echo(generation)

    return script


def test_what_is_there_is_given_where_a_step_fails(made, http):
    made.engine.script = failing(made, "bob/weather")
    answer = ask(http, {"steps": FORK})
    assert content(answer) == "french good morning"
    routing = answer.json()["routing"]
    assert routing["incomplete"]
    assert [(step["content"], step["error"]) for step in routing["steps"]] == [
        ("french good morning", None),
        (None, "It is away."),
    ]
    assert len(made.engine.generations) == 2


def test_every_step_tells_the_template_the_same(made, http):
    answer = ask(http, {"steps": CHAIN}, chat_template_kwargs={"enable_thinking": False})
    assert answer.status_code == 200
    told = [each.variables for each in made.engine.generations]
    assert told == ['{"enable_thinking": false}'] * 2


def test_whoever_works_on_what_failed_is_not_asked(made, http):
    made.engine.script = failing(made, "ada/french")
    more = [*FORK, {"name": "end", "prompt": "{both}", "after": ["both"]}]
    answer = ask(http, {"steps": more})
    assert content(answer) == "weather good morning"
    errors = {step["name"]: step["error"] for step in answer.json()["routing"]["steps"]}
    assert errors == {
        "a": "It is away.",
        "b": None,
        "both": "It works on what did not come of a.",
    }


def test_where_nothing_came_of_any_step_the_request_fails(made, http):
    made.engine.script = failing(made, "ada/french")
    answer = ask(http, {"steps": CHAIN})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "Step 'step-1' failed: It is away."


def test_an_error_that_nobody_foresaw_tells_nothing_of_the_inside(made, http, caplog):
    def script(generation):
        return (
            [ValueError("the inside")] if "french" in str(generation.prompt) else echo(generation)
        )

    made.engine.script = script
    answer = ask(http, {"steps": FORK})
    assert content(answer) == "weather good morning"
    assert "inside" not in answer.text
    assert "the inside" in caplog.text


def test_a_step_may_name_nobody(made, http):
    answer = ask(http, {"steps": [{"model": "no/body"}, {"model": BASE, "prompt": "{step-1}"}]})
    assert answer.status_code == 503
    assert "no model 'no/body'" in answer.json()["error"]["message"]
    last = ask(http, {"steps": [{"model": BASE}, {"model": "no/body"}]})
    assert last.status_code == 404


def test_a_stream_begins_with_the_steps(http):
    answer = ask(http, {"steps": CHAIN}, stream=True, stream_options={"include_usage": True})
    first, *others, usage, done = events(answer.text)
    assert first["routing"]["steps"][0]["content"] == "in french: good morning"
    assert done == "[DONE]"
    text = "".join(each["choices"][0]["delta"].get("content", "") for each in [first, *others])
    assert text == "and the weather? in french: good morning"
    assert usage["usage"]["total_tokens"] == 22
    options = {"include_usage": True, "continuous_usage_stats": True}
    answer = ask(http, {"steps": CHAIN}, stream=True, stream_options=options)
    *_, before, usage, done = events(answer.text)
    assert before["usage"] == usage["usage"]


def test_a_partial_answer_may_be_streamed_too(made, http):
    made.engine.script = failing(made, "bob/weather")
    answer = ask(http, {"steps": FORK}, stream=True)
    first, *_, done = events(answer.text)
    assert first["choices"][0]["delta"]["content"] == "french good morning"
    assert first["routing"]["incomplete"]
    assert done == "[DONE]"


def test_a_step_without_a_prompt_is_the_conversation_or_the_results_before_it(made, http):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    answer = ask(http, {"steps": [{"model": BASE}, {"model": BASE}]}, messages=messages)
    assert content(answer) == "hi"
    first, second = made.engine.generations
    assert [turn.role for turn in first.prompt] == ["system", "user"]
    assert [turn.role for turn in second.prompt] == ["user"]


def test_responses_take_steps_and_prompts_do_not(http):
    body = {"model": "auto", "input": REQUEST, "routing": {"steps": CHAIN}}
    answer = http.post("/v1/responses", json=body).json()
    assert answer["output"][0]["content"][0]["text"] == "and the weather? in french: good morning"
    for path, field in (("/v1/completions", "prompt"), ("/v1/route", "input")):
        for routing in ({"steps": CHAIN}, {"compose": True}):
            sent = {field: REQUEST, "routing": routing}
            sent |= {"model": "auto"} if field == "prompt" else {}
            refused = http.post(path, json=sent)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == f"routing.{next(iter(routing))}"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"name": "a"}, {"name": "a"}], "two of the same name"),
        ([{"after": ["x"]}], "after 'x', which is none of them"),
        ([{"name": "a", "after": ["b"]}, {"name": "b"}], "in a circle"),
        ([{"name": "a"}, {"name": "b", "after": []}], "end in 2 places"),
        ([{"name": "request"}], "stands for the request"),
        ([{}] * 9, "at most 8"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_steps_that_lead_to_no_answer_are_refused(http, steps, said):
    answer = ask(http, {"steps": steps})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "routing.steps"
    assert said in answer.json()["error"]["message"]


def test_a_request_for_several_things_is_split_between_specialists(made, http):
    text = f"{FRENCH[0]}, then tell me the {WEATHER[0]}"
    answer = ask(http, {"compose": True, "threshold": 0.2}, text)
    routing = answer.json()["routing"]
    assert [step["specialist"] for step in routing["steps"]] == ["ada/french"]
    assert routing["specialist"] == "bob/weather"
    assert content(answer).endswith(f":\n{FRENCH[0]}")


@pytest.mark.parametrize("text", [FRENCH[0], f"{FRENCH[0]} then {FRENCH[1]}", "", "x then y"])
def test_a_request_that_one_can_answer_is_not_split(made, http, text):
    answer = ask(http, {"compose": True}, text)
    assert answer.status_code == 200
    assert "steps" not in answer.json()["routing"]
    assert len(made.engine.generations) == 1


def test_without_being_asked_nothing_is_split(made, http):
    answer = ask(http, True, f"{FRENCH[0]}, then tell me the {WEATHER[0]}")
    assert "steps" not in answer.json()["routing"]


@pytest.mark.parametrize(
    ("text", "asked", "material"),
    [
        ("extract the tasks, then sort them", ["extract the tasks", "sort them"], ""),
        ("list them; translate it. Finally, sign it", ["list them", "translate it", "sign it"], ""),
        ("find names and then count:\nTom, then Ann", ["find names", "count"], "Tom, then Ann"),
        ("summarise: 'then came spring'", ["summarise"], "'then came spring'"),
        ("tell me about the authentic thing", ["tell me about the authentic thing"], ""),
        ("do it\n\nthe text", ["do it"], "the text"),
        ("list them, then sort: a b c d e f g h", ["list them", "sort"], "a b c d e f g h"),
        ("list them, then sort: a then b", ["list them", "sort: a", "b"], ""),
        ("list them: a b c d e f g h", ["list them: a b c d e f g h"], ""),
        ("read, then do: a b c d e f g h\n\ni", ["read", "do"], "a b c d e f g h\n\ni"),
    ],
)
def test_what_is_asked_for_is_told_from_what_it_is_asked_of(text, asked, material):
    assert split(text) == (asked, material)


def test_the_material_goes_to_the_first_and_the_results_to_the_others():
    plan = planned("find it then sort it then sign it:\nstuff", {"find it": "a/f", "sort it": "b/s",
                                                                "sign it": "b/s"}.get)  # fmt: skip
    assert [(step.model, step.after) for step in plan.steps] == [("a/f", ()), ("b/s", ("step-1",))]
    assert plan.steps[0].text("", {}) == "find it:\nstuff"
    assert plan.steps[1].text("", {"step-1": "found"}) == "sort it, then sign it:\nfound"


def test_the_first_step_is_decided_on_as_it_is_asked():
    fits = {"find it:\nstuff": "a/f", "find it": "c/x", "sort it": "b/s", "sort it:\nstuff": "c/x"}
    plan = planned("find it then sort it:\nstuff", fits.get)
    assert [step.model for step in plan.steps] == ["a/f", "b/s"]


def test_only_what_stands_for_something_is_replaced():
    step = Step("s", "m", ("a",), '{request} {a} {b} {} {"json": 1} {{a}}')
    assert step.text("R", {"a": "{request}"}) == 'R {request} {b} {} {"json": 1} {{request}}'


NAMES = st.sampled_from("abcdef")
STEPS = st.lists(
    st.builds(Step, NAMES, st.just("m"), st.lists(NAMES, max_size=3).map(tuple)), max_size=6
)


@given(STEPS)
def test_a_plan_is_an_order_that_ends_in_the_answer(steps):
    try:
        plan = Plan.of(steps)
    except InvalidPlan:
        return
    places = {step.name: at for at, step in enumerate(plan.steps)}
    assert len(places) == len(steps)
    for step in plan.steps:
        assert all(places[name] < places[step.name] for name in step.after)
    assert all(plan.last.name not in step.after for step in steps)


def test_whoever_leaves_ends_the_steps(made):
    made.engine.script = lambda _: [Delta(0, "a", 1), Hold()]
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    content = json.dumps(body | {"routing": {"steps": CHAIN}}).encode()
    head = f"{HEADERS}content-length: {len(content)}\r\n\r\n".encode()
    with served(made) as url:
        address = httpx.URL(url)
        line = socket.create_connection((address.host, address.port), timeout=HANGS)
        line.sendall(head + content)
        assert made.engine.began.wait(HANGS)
        line.close()
        assert made.engine.closed.wait(HANGS)
    assert len(made.engine.aborted) == 1


def test_steps_stay_in_the_order_in_which_they_were_given():
    plan = Plan.of([Step("z", "m"), Step("end", "m", ("a", "z")), Step("a", "m")])
    assert [step.name for step in plan.steps] == ["z", "a", "end"]


SLOW = (" ", "\n ", "and ", "and  ", "; ;", ", then", "after  ", "a: ", "; a: ", ": a     ")


@pytest.mark.parametrize("piece", SLOW)
def test_no_request_takes_long_to_split(piece):
    began = time.thread_time()
    for length in (HEAD, 100 * HEAD):
        split(("x" + piece * length)[:length])
    # Where spaces are read again and again it takes minutes.
    assert time.thread_time() - began < 5


def test_a_request_that_is_long_before_its_material_is_one():
    request = f"{'word ' * HEAD}, then make it formal"
    assert split(request) == ([request], "")
