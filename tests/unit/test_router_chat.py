"""Chats, completions, routing and models, asked for with OpenAI's own client."""

import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from scripted import ScriptedEngine, echo, thinker
from served import BASE, events, http_client, served, service

from router.engine import Delta, Usage
from router.errors import ContextOverflow, Overloaded, Unavailable
from router.logprobs import TokenLogprob, packed
from router.service import Service

FORECAST = [{"role": "user", "content": "weather forecast for paris"}]
RAIN = packed(TokenLogprob("rain", -0.5, b"rain", (TokenLogprob("sun", -math.inf, b"sun"),)))


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[Service, str]]:
    with service(tmp_path_factory.mktemp("home")) as made, served(made) as url:
        yield made, url


@pytest.fixture
def engine(running) -> ScriptedEngine:
    made, _ = running
    made.engine.__init__(echo)
    return made.engine


@pytest.fixture
def client(running, engine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running[1]}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def http(running, engine) -> Iterator[httpx.Client]:
    with http_client(running[1]) as made:
        yield made


def test_auto_is_answered_by_the_specialist_that_fits(client, engine, running):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=FORECAST)
    answer = raw.parse()
    [generation] = engine.generations
    assert generation.whole
    version = running[0].registry.get("bob/weather")
    assert answer.choices[0].message.content == "weather forecast for paris"
    assert (answer.object, answer.model) == ("chat.completion", "bob/weather")
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 4,
        "completion_tokens": 4,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    routing = answer.model_extra["routing"]
    assert set(routing) == {
        "specialist", "version", "digest", "score", "reason", "candidates", "sampling",
        "base", "margin", "rule", "milliseconds",
    }  # fmt: skip
    assert (routing["specialist"], routing["version"]) == ("bob/weather", 1)
    assert routing["digest"] == generation.adapter == version.digest
    assert [c["specialist"] for c in routing["candidates"]] == ["bob/weather", "ada/french"]
    assert set(routing["candidates"][0]) == {"specialist", "version", "digest", "score"}
    assert raw.headers["x-myriad-specialist"] == "bob/weather"
    assert raw.headers["x-request-id"]


def test_a_text_may_have_any_characters(client, engine):
    said = "a\0b\u2028\U0001f600"
    answer = client.chat.completions.create(
        model=BASE, messages=[{"role": "user", "content": said}], store=True
    )
    assert answer.choices[0].message.content == said
    [kept] = client.chat.completions.messages.list(answer.id)
    assert kept.content == said
    for each in (said, [said, "c"]):
        client.completions.create(model=BASE, prompt=each)
    client.responses.create(model=BASE, input=said, instructions=said)
    assert engine.generations[-1].prompt[0].content == said
    assert client.post("/route", body={"input": said}, cast_to=object)


def test_routing_is_left_out_where_it_is_not_wanted(client):
    for stream in (False, True):
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=FORECAST, stream=stream, extra_body={"routing": False}
        )
        text = raw.http_response.read().decode()
        assert "choices" in text
        assert "routing" not in text
        assert raw.headers["x-myriad-specialist"] == "bob/weather"
    wanted = client.chat.completions.create(
        model="auto", messages=FORECAST, extra_body={"routing": True}
    )
    assert wanted.model_extra["routing"]["rule"] == "likeliest"


def test_routing_says_by_how_much_it_was_decided(client):
    answer = client.chat.completions.create(model="auto", messages=FORECAST)
    routing = answer.model_extra["routing"]
    second = max(routing["candidates"][1]["score"], routing["base"])
    assert routing["margin"] == pytest.approx(routing["score"] - second, abs=2e-4)
    assert routing["milliseconds"] > 0
    named = client.chat.completions.create(model="bob/weather", messages=FORECAST)
    routing = named.model_extra["routing"]
    assert routing["rule"] == "named"
    assert [routing[name] for name in ("base", "margin", "milliseconds")] == [None] * 3


def test_auto_leaves_small_talk_to_the_base(client, engine):
    messages = [{"role": "user", "content": "hello there"}]
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=messages)
    assert raw.parse().model == raw.headers["x-myriad-specialist"] == BASE
    assert raw.parse().model_extra["routing"]["specialist"] is None
    assert engine.generations[0].adapter is None


@pytest.mark.parametrize("form", ["ada/french", "ada/french:prod", "ada/french@{digest}"])
def test_a_reference_names_the_specialist(client, engine, running, form):
    digest = running[0].registry.get("ada/french").digest
    answer = client.chat.completions.create(model=form.format(digest=digest), messages=FORECAST)
    assert answer.model == "ada/french"
    assert answer.model_extra["routing"]["score"] is None
    assert engine.generations[0].adapter == digest


def test_the_bases_name_means_the_bare_base(client, engine):
    answer = client.chat.completions.create(model=BASE, messages=FORECAST)
    assert answer.model_extra["routing"]["candidates"] == []
    assert engine.generations[0].adapter is None


def test_several_choices_and_logprobs(client, engine):
    engine.script = lambda generation: [
        Delta(0, "rain", 1, (RAIN,)),
        Delta(1, "fog", 1, (), "length"),
        Delta(0, "", 0, (), "stop"),
        Usage(3, 2),
    ]
    answer = client.chat.completions.create(
        model="bob/weather", messages=FORECAST, n=2, logprobs=True, top_logprobs=1
    )
    first, second = answer.choices
    assert (first.message.content, first.finish_reason) == ("rain", "stop")
    assert (second.message.content, second.finish_reason) == ("fog", "length")
    [token] = first.logprobs.content
    assert (token.token, token.logprob, token.bytes) == ("rain", -0.5, [114, 97, 105, 110])
    assert (token.top_logprobs[0].token, token.top_logprobs[0].logprob) == ("sun", -9999.0)


@pytest.mark.parametrize("stream", [False, True])
def test_more_log_probabilities_than_an_answer_may_hold_are_refused(client, engine, stream):
    asked = {"model": BASE, "max_tokens": 7000, "stream": stream}
    for more in (
        {"messages": FORECAST, "n": 8, "logprobs": True, "top_logprobs": 20},
        {"prompt": ["x"] * 16, "n": 2, "logprobs": 5},
        {"prompt": ["é" * 90_000], "max_tokens": 1, "echo": True, "logprobs": 5},
    ):
        create = client.chat.completions.create if "messages" in more else client.completions.create
        with pytest.raises(openai.BadRequestError, match="ask for fewer") as refusal:
            create(**asked | more)
        assert refusal.value.param == "logprobs"
    assert engine.generations == []
    answer = client.chat.completions.create(
        model=BASE, messages=FORECAST, n=8, max_tokens=5000, logprobs=True, top_logprobs=20
    )
    assert len(answer.choices) == 8


def test_a_stream_brings_routing_once_role_once_per_choice_and_usage_last(client):
    with client.chat.completions.create(
        model="auto", messages=FORECAST, n=2, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
        assert stream.response.headers["x-myriad-specialist"] == "bob/weather"
    *parts, last = chunks
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert ["routing" in chunk.model_extra for chunk in chunks].index(True) == 0
    assert sum("routing" in chunk.model_extra for chunk in chunks) == 1
    assert (last.choices, last.usage.total_tokens) == ([], 12)
    assert all(chunk.usage is None for chunk in parts)
    for index in (0, 1):
        choices = [c for chunk in parts for c in chunk.choices if c.index == index]
        assert [c.delta.role for c in choices] == ["assistant", None, None, None]
        assert "".join(c.delta.content for c in choices) == "weather forecast for paris"
        assert [c.finish_reason for c in choices] == [None, None, None, "stop"]


def test_each_chunk_of_a_stream_may_have_the_usage_so_far(client, engine):
    engine.script = lambda generation: [
        Delta(0, "rain", 2, prompt=Usage(7, 0, 3)),
        Delta(0, " soon", 1),
        Delta(0, "", 1, finish_reason="stop"),
        Usage(7, 4, 3),
    ]
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = client.chat.completions.create(
        model=BASE, messages=FORECAST, stream=True, stream_options=options
    )
    used = [chunk.usage for chunk in stream]
    assert [each.completion_tokens for each in used] == [2, 3, 4, 4]
    assert {(each.prompt_tokens, each.prompt_tokens_details.cached_tokens) for each in used} == {
        (7, 3)
    }
    options["include_usage"] = False
    stream = client.chat.completions.create(
        model=BASE, messages=FORECAST, stream=True, stream_options=options
    )
    assert {chunk.usage for chunk in stream} == {None}


def test_usage_so_far_is_of_all_prompts_of_a_completion(client):
    stream = client.completions.create(
        model=BASE, prompt=["one two", "three"], stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )  # fmt: skip
    *_, before, last = [chunk.usage for chunk in stream]
    assert before == last
    assert (last.prompt_tokens, last.completion_tokens) == (3, 3)


def test_a_stream_ends_with_done_and_without_usage_unless_asked(http):
    body = {"model": "auto", "messages": FORECAST, "stream": True}
    response = http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    assert not any("usage" in chunk for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("refusal", "raised", "retry_after"),
    [
        (ContextOverflow(900, 512), openai.BadRequestError, None),
        (Overloaded(2), openai.RateLimitError, "2"),
        (Unavailable(), openai.InternalServerError, "1"),
    ],
)
def test_an_engines_refusal_has_its_status_also_for_a_stream(
    client, engine, stream, refusal, raised, retry_after
):
    engine.script = lambda generation: [refusal]
    with pytest.raises(raised) as caught:
        client.chat.completions.create(model="auto", messages=FORECAST, stream=stream)
    assert caught.value.code == refusal.code
    assert caught.value.response.headers.get("retry-after") == retry_after


def test_unknown_models_get_the_nearest_names(client):
    for model, nearest in [
        ("ada/frensh", "ada/french"),
        ("weather", "bob/weather"),
        ("tinny", BASE),
        ("gpt-4o", "auto"),
    ]:
        with pytest.raises(openai.NotFoundError, match=nearest) as caught:
            client.chat.completions.create(model=model, messages=FORECAST)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("model", "nearest"),
    [
        ("Bob/Weather", "bob/weather"),
        ("bob/Weathr:prod", "bob/weather"),
        ("French", "ada/french"),
        ("AUTO", "auto"),
        ("bob/", "bob/weather"),
        ("Not A/Name\n", "ada/french"),
        ("gpt-4o", "auto"),
        ("/" * 200, "ada/french"),
    ],
)
def test_a_model_of_any_spelling_gets_the_nearest_names(client, model, nearest):
    with pytest.raises(openai.NotFoundError, match=nearest) as caught:
        client.chat.completions.create(model=model, messages=FORECAST)
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


def test_a_version_is_asked_for_by_number(client):
    for model in ("bob/weather@1", "bob/weather:latest"):
        answer = client.chat.completions.create(model=model, messages=FORECAST)
        assert answer.model_extra["routing"]["version"] == 1
    with pytest.raises(openai.NotFoundError, match="bob/weather"):
        client.chat.completions.create(model="bob/weather@2", messages=FORECAST)


def test_the_unsupported_is_refused_by_name(client):
    with pytest.raises(openai.BadRequestError, match="web_search_options") as caught:
        client.chat.completions.create(model="auto", messages=FORECAST, web_search_options={})
    assert caught.value.code == "unsupported_parameter"


def test_completions(client, engine):
    answer = client.completions.create(model="auto", prompt="weather forecast for paris", n=2)
    assert (answer.object, answer.model) == ("text_completion", "bob/weather")
    assert answer.id.startswith("cmpl-")
    assert [c.text for c in answer.choices] == ["weather forecast for paris"] * 2
    assert answer.model_extra["routing"]["specialist"] == "bob/weather"
    assert engine.generations[0].sampling.max_tokens == 16


def test_several_prompts_are_answered_in_order(client, engine):
    answer = client.completions.create(model=BASE, prompt=["one", "two words"], n=2)
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert [c.text for c in answer.choices] == ["one", "one", "two words", "two words"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 6)
    assert len(engine.generations) == 2


def test_several_prompts_in_one_stream(client):
    texts = {0: "", 1: ""}
    with client.completions.create(model=BASE, prompt=["one", "two words"], stream=True) as stream:
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == {0: "one", 1: "two words"}


@pytest.mark.parametrize("stream", [False, True])
def test_one_refused_prompt_refuses_the_request(client, engine, stream):
    refusal = ContextOverflow(900, 512)
    engine.script = lambda g: [refusal] if g.prompt == "two" else [*echo(g)]
    with pytest.raises(openai.APIError) as caught:
        list(client.completions.create(model=BASE, prompt=["one", "two"], stream=stream))
    assert caught.value.code == "context_length_exceeded"


def test_an_overflow_of_a_completion_is_the_prompts(client, engine):
    engine.script = lambda generation: [ContextOverflow(900, 512)]
    with pytest.raises(openai.BadRequestError, match=r"900.*512") as caught:
        client.completions.create(model=BASE, prompt="x")
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2]])
def test_auto_needs_one_text(client, prompt):
    with pytest.raises(openai.BadRequestError, match="auto"):
        client.completions.create(model="auto", prompt=prompt)


def test_a_prompt_is_asked_back(client, engine):
    client.completions.create(model=BASE, prompt=["a b", "c"], echo=True, logprobs=1, max_tokens=0)
    asked = engine.generations[-2:]
    assert [each.echo for each in asked] == [True, True]
    assert [each.sampling.max_tokens for each in asked] == [0, 0]
    client.completions.create(model=BASE, prompt="a")
    assert not engine.generations[-1].echo
    with pytest.raises(openai.BadRequestError, match="unless 'echo'") as refusal:
        client.completions.create(model=BASE, prompt="a", max_tokens=0)
    assert refusal.value.param == "max_tokens"


def test_the_older_logprobs_go_on_from_chunk_to_chunk(client, engine):
    engine.script = lambda generation: [
        Delta(0, "rain", 1, (RAIN,)),
        Delta(0, "rain", 1, (RAIN,), "stop"),
        Usage(1, 2),
    ]
    body = {"model": BASE, "prompt": "x", "logprobs": 1}
    whole = client.completions.create(**body).choices[0].logprobs
    assert whole.model_dump() == {
        "tokens": ["rain", "rain"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"sun": -9999.0}] * 2,
        "text_offset": [0, 4],
    }
    with client.completions.create(**body, stream=True) as stream:
        assert [c.choices[0].logprobs.text_offset for c in stream] == [[0], [4]]


def test_route_decides_and_generates_nothing(http, engine):
    decision = http.post("/v1/route", json={"input": "translate dog into french"}).json()
    assert (decision["specialist"], decision["generation"]) == ("ada/french", 2)
    messages = [{"role": "user", "content": "translate dog into french"}]
    again = http.post("/v1/route", json={"messages": messages}).json()
    assert again | {"milliseconds": 0} == decision | {"milliseconds": 0}
    assert engine.generations == []


def test_models_are_listed_and_found_by_reference(client, running):
    assert [m.id for m in client.models.list()] == ["auto", BASE, "bob/weather", "ada/french"]
    assert client.models.retrieve("auto").owned_by == "myriad"
    digest = running[0].registry.get("ada/french").digest
    for reference in ("ada/french", "ada/french:prod", f"ada/french@{digest}"):
        model = client.models.retrieve(reference)
        assert (model.id, model.object, model.owned_by) == (reference, "model", "ada")
        assert model.created > 0
    with pytest.raises(openai.NotFoundError, match="ada/french"):
        client.models.retrieve("ada/frenhc")


def test_unknown_paths_and_methods_are_refused_in_the_same_format(http):
    for response, status in [(http.get("/v1/nothing"), 404), (http.put("/v1/models"), 405)]:
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        assert response.headers["x-request-id"]


def test_a_sane_request_id_is_kept_and_another_replaced(http):
    def answered(given: str) -> str:
        return http.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"]

    assert answered("abc-1.2_3") == "abc-1.2_3"
    assert answered("a b") != "a b"
    assert len(answered("x" * 200)) < 100


JSON = {"content-type": "application/json"}


def test_a_body_over_the_limit_is_refused(http):
    for content in (b" " * (5 << 20), iter([b" " * (1 << 20)] * 5)):
        response = http.post("/v1/chat/completions", content=content, headers=JSON)
        assert response.status_code == 413
        assert str(4 << 20) in response.json()["error"]["message"]


def test_docs_define_all_they_refer_to(http):
    assert http.get("/docs").status_code == 200
    schema = http.get("/openapi.json").json()
    body = schema["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/ChatRequest"}
    for name in ("ChatRequest", "CompletionRequest", "RouteRequest", "ChatMessage"):
        assert name in schema["components"]["schemas"]


def test_an_unforeseen_error_is_logged_with_its_request_and_tells_nothing(http, engine, caplog):
    engine.script = lambda generation: [KeyError("secret")]
    body = {"model": "auto", "messages": FORECAST}
    response = http.post("/v1/chat/completions", json=body, headers={"x-request-id": "here"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "here"
    assert "request here failed" in caplog.text
    assert "secret" in caplog.text


def test_auto_waits_for_the_first_snapshot_but_names_do_not(tmp_path: Path):
    with service(tmp_path) as made, served(made) as url:
        made.follower._snapshot = None
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model="auto", messages=FORECAST)
            assert caught.value.code == "not_ready"
            assert caught.value.response.headers["retry-after"] == "1"
            named = client.chat.completions.create(model="ada/french", messages=FORECAST)
            assert named.model == "ada/french"


def test_what_is_being_decided_on_has_its_place_meanwhile(client, engine, running, monkeypatch):
    resolver, seen = running[0].resolver, []
    resolve = resolver.resolve

    async def watched(*asked):
        seen.append(list(engine.expected))
        return await resolve(*asked)

    monkeypatch.setattr(resolver, "resolve", watched)
    client.chat.completions.create(model="auto", messages=FORECAST)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody/here", messages=FORECAST)
    assert seen == [[None], [None]]
    assert engine.expected == []


@pytest.mark.parametrize("model", ["auto", "ada/french", BASE])
def test_what_has_no_place_is_refused_before_anything_is_decided(client, engine, running, model):
    engine.full = True
    try:
        with pytest.raises(openai.RateLimitError) as refusal:
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    finally:
        engine.full = False
    assert refusal.value.code == "overloaded"
    assert int(refusal.value.response.headers["retry-after"]) >= 1


def test_what_was_thought_is_told_apart_from_the_answer(client, engine):
    engine.script = thinker
    answer = client.chat.completions.create(model=BASE, messages=FORECAST, n=2)
    for choice in answer.choices:
        assert choice.message.content == "Yes."
        assert choice.message.model_extra["reasoning_content"] == "I see."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4


def test_a_stream_tells_what_is_thought_as_it_comes(client, engine):
    engine.script = thinker
    stream = client.chat.completions.create(model=BASE, messages=FORECAST, stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream]
    thought = [(delta.model_extra or {}).get("reasoning_content") for delta in deltas]
    assert thought == ["I ", "see.", None, None]
    assert [delta.content for delta in deltas] == [None, None, "Ye", "s."]
    assert deltas[0].role == "assistant"


def test_an_answer_without_thoughts_says_nothing_of_them(client):
    answer = client.chat.completions.create(model=BASE, messages=FORECAST)
    assert "reasoning_content" not in answer.choices[0].message.model_extra


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_what_was_thought_can_be_sent_back(client, engine, field):
    said = {"role": "assistant", "content": "Yes.", field: "I see."}
    client.chat.completions.create(model=BASE, messages=[*FORECAST, said, *FORECAST])
    [generation] = engine.generations
    assert [turn.thoughts for turn in generation.prompt] == ["", "I see.", ""]


@pytest.mark.parametrize("thoughts", [None, {"summary": "x"}, ["x"]])
def test_what_other_servers_make_of_thoughts_is_left_out(client, engine, thoughts):
    said = {"role": "assistant", "content": "Yes.", "reasoning": thoughts}
    client.chat.completions.create(model=BASE, messages=[*FORECAST, said, *FORECAST])
    assert engine.generations[0].prompt[1].thoughts == ""


def test_only_the_assistant_has_thoughts(http):
    asked = [{"role": "user", "content": "hello", "reasoning_content": "x"}]
    answer = http.post("/v1/chat/completions", json={"model": BASE, "messages": asked})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].reasoning_content"


@pytest.mark.parametrize(
    ("asked", "thought"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, 0),
        ({"extra_body": {"thinking_token_budget": 7}}, 7),
        ({"reasoning_effort": "none", "extra_body": {"thinking_token_budget": 7}}, 0),
        ({"reasoning_effort": "low"}, 1024),
        ({"reasoning_effort": "low", "extra_body": {"thinking_token_budget": 7}}, 7),
        ({"reasoning_effort": "low", "extra_body": {"thinking_token_budget": 9000}}, 1024),
        ({"reasoning_effort": "high"}, None),
        ({"reasoning_effort": "high", "extra_body": {"thinking_token_budget": 7}}, 7),
    ],
)
def test_it_may_be_said_how_much_is_thought(client, engine, asked, thought):
    client.chat.completions.create(model=BASE, messages=FORECAST, **asked)
    assert engine.generations[0].most_thought == thought
