import json

import pytest

from router.engine import Generation, Message
from router.errors import InvalidRequest, UnsupportedParameter
from router.sampling import Sampling
from router.wire.body import parse
from router.wire.chat import ChatRequest
from router.wire.completion import CompletionRequest
from router.wire.route import RouteRequest

HI = {"role": "user", "content": "hi"}


def chat(**fields) -> ChatRequest:
    return parse(json.dumps({"model": "auto", "messages": [HI]} | fields).encode(), ChatRequest)


def completion(**fields) -> CompletionRequest:
    return parse(json.dumps({"model": "m", "prompt": "a"} | fields).encode(), CompletionRequest)


def refused(read, **fields) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    return caught.value


def test_a_plain_chat_leaves_its_sampling_open():
    body = chat()
    assert body.sampling == Sampling()
    assert body.generation("id", "sha256:x", body.sampling) == Generation(
        request_id="id", adapter="sha256:x", prompt=(Message("user", "hi"),)
    )


def test_every_parameter_reaches_the_engine():
    body = chat(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "assistant", "content": [{"type": "text", "text": x} for x in "ab"]},
        ],
        max_completion_tokens=5, temperature=0, top_p=0.5, seed=-3, stop="x", n=8,
        top_k=4, min_p=0.1, frequency_penalty=-1, presence_penalty=1, repetition_penalty=1.1,
        logit_bias={"7": -100}, min_tokens=3, ignore_eos=True, stop_token_ids=[5, 9],
        logprobs=True, top_logprobs=4, user="u", stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    assert body.generation("id", None, body.sampling) == Generation(
        request_id="id",
        adapter=None,
        prompt=(Message("system", "be brief"), Message("assistant", "ab")),
        n=8,
        sampling=Sampling(
            max_tokens=5,
            min_tokens=3,
            ignore_eos=True,
            temperature=0,
            top_p=0.5,
            top_k=4,
            min_p=0.1,
            frequency_penalty=-1,
            presence_penalty=1,
            repetition_penalty=1.1,
            logit_bias=((7, -100),),
            seed=-3,
            stop=("x",),
            stop_token_ids=(5, 9),
        ),
        logprobs=4,
    )
    assert body.stream_options.include_usage


@pytest.mark.parametrize("content", ["ab c", [{"type": "text", "text": t} for t in ("ab", " c")]])
def test_what_an_answer_may_be_is_told_to_the_engine(content):
    body = chat(prediction={"type": "content", "content": content})
    assert body.generation("id", None, Sampling()).expected == "ab c"
    assert chat().generation("id", None, Sampling()).expected == ""


@pytest.mark.parametrize(
    ("prediction", "param"),
    [
        ({"type": "words", "content": "a"}, "prediction.type"),
        ({"type": "content", "content": [{"type": "image_url"}]}, "prediction.content[0].type"),
        ({"type": "content"}, "prediction.content"),
    ],
)
def test_what_an_answer_may_be_is_text(prediction, param):
    assert refused(chat, prediction=prediction).param.startswith(param.rpartition(".")[0])


@pytest.mark.parametrize(
    ("fields", "logprobs"), [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0)]
)
def test_logprobs_without_alternatives(fields, logprobs):
    assert chat(**fields).generation("id", None, Sampling()).logprobs == logprobs


@pytest.mark.parametrize(
    "fields",
    [
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "top_k": -1},
        {"response_format": {"type": "text"}, "store": False, "metadata": {}, "tools": []},
        {"parallel_tool_calls": True, "modalities": ["text"], "service_tier": "auto"},
        {"tools": None, "audio": None, "stop": None, "max_tokens": None, "temperature": None},
        {"response_format": {"type": "text"}},
        {"max_tokens": 5, "max_completion_tokens": 5, "stop": ["a", "b", "c", "d"]},
        {"messages": [{**HI, "name": None, "tool_calls": None, "refusal": None}]},
        {"metadata": {"a": "b"}, "store": False, "prompt_cache_key": "k", "user": "u"},
        {"safety_identifier": "s", "service_tier": "auto", "reasoning_effort": "none"},
        {"reasoning_effort": "medium"},
        {"verbosity": "medium", "prompt_cache_retention": "24h", "top_p": 0},
        {"messages": [HI | {"name": "ann"}, {"role": "assistant", "content": None}, HI]},
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "yes",
                    "reasoning_content": "hm",
                    "id": "1",
                    "annotations": [],
                    "refusal": None,
                    "audio": None,
                    "tool_calls": [],
                    "function_call": None,
                    "provider_specific_fields": {"a": 1},
                },
                HI,
            ]
        },
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"temperature": 2, "top_p": 1, "n": 1, "top_logprobs": 0},
    ],
)
def test_what_asks_for_nothing_special_is_let_pass(fields):
    assert chat(**fields).messages


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{}]}, "functions"),
        ({"audio": {}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"messages": [HI, {**HI, "audio": {"id": "1"}}]}, "messages[1].audio"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url",
        ),
        ({"stream": True, "stream_options": {"include_obfuscation": True}},
         "stream_options.include_obfuscation"),
    ],
)  # fmt: skip
def test_the_unsupported_is_refused_by_name(fields, param):
    error = refused(chat, **fields)
    assert isinstance(error, UnsupportedParameter)
    assert (error.param, error.code) == (param, "unsupported_parameter")
    assert f"'{param}'" in error.message


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [3]}, "messages[0]", "invalid_type"),
        ({"messages": [HI, {"role": "function", "content": "x"}]}, "messages[1].role",
         "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
            "invalid_type",
        ),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_type"),
        ({"model": "a\0"}, "model", "invalid_value"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"frequency_penalty": 2.1}, "frequency_penalty", "invalid_value"),
        ({"presence_penalty": "1"}, "presence_penalty", "invalid_type"),
        ({"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
        ({"min_p": 1.1}, "min_p", "invalid_value"),
        ({"top_k": -2}, "top_k", "invalid_value"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5", "invalid_value"),
        ({"logit_bias": [5]}, "logit_bias", "invalid_type"),
        ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "invalid_value",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 3}}},
            "response_format.json_schema.schema",
            "invalid_type",
        ),
        ({"continue_final_message": True}, "continue_final_message", "invalid_value"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs", "invalid_type"),
        ({"chat_template_kwargs": {str(at): at for at in range(65)}}, "chat_template_kwargs",
         "invalid_value"),
        ({"reasoning_effort": "much"}, "reasoning_effort", "invalid_value"),
        ({"add_generation_prompt": False}, "add_generation_prompt", "invalid_value"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "invalid_value"),
        ({"stop_token_ids": [5] * 65}, "stop_token_ids", "invalid_value"),
        ({"min_tokens": -1}, "min_tokens", "invalid_value"),
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens", "invalid_value"),
        ({"min_tokens": 6, "max_completion_tokens": 5}, "min_tokens", "invalid_value"),
        ({"ignore_eos": 1}, "ignore_eos", "invalid_type"),
        ({"n": 9}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stop": ""}, "stop[0]", "invalid_value"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"{": None}, "{", "unknown_parameter"),
        ({"(text)": 1}, "(text)", "unknown_parameter"),
        ({"k" * 5000: 1}, "k" * 64, "unknown_parameter"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(fields, param, code):
    error = refused(chat, **fields)
    assert (error.status, error.param, error.code) == (400, param, code)
    assert f"'{param}'" in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": {}}}},
            {"b": 1, "a": {}},
        ),
        ({"type": "json_schema", "json_schema": {"name": "n", "strict": True}}, {}),
    ],
)
def test_the_schema_of_an_answer_reaches_the_engine(asked, schema):
    found = chat(response_format=asked).generation("id", None, Sampling()).schema
    assert (found and json.loads(found)) == schema


def test_the_last_message_may_be_gone_on_with():
    begun = [HI, {"role": "assistant", "content": "Well, "}]
    body = chat(messages=begun, continue_final_message=True, add_generation_prompt=False)
    assert body.generation("id", None, Sampling()).continued
    assert not chat(messages=begun).generation("id", None, Sampling()).continued
    assert chat(add_generation_prompt=True)


@pytest.mark.parametrize("told", [{"enable_thinking": False}, {"documents": [{"title": "é"}]}])
def test_the_variables_of_a_template_reach_the_engine(told):
    found = chat(chat_template_kwargs=told).generation("id", None, Sampling()).variables
    assert json.loads(found) == told


@pytest.mark.parametrize("nothing", [{}, {"chat_template_kwargs": {}}])
def test_without_any_the_engine_is_told_of_none(nothing):
    assert chat(**nothing).generation("id", None, Sampling()).variables is None


def test_a_misspelt_name_is_put_right():
    assert "'temperature'" in refused(chat, temprature=1).message


@pytest.mark.parametrize(
    "raw",
    [b"", b"[", b"{", b"\xff", b"[" * 100_000, b'{"model": NaN}', b'{"model": Infinity}',
     b'{"model": "\\ud800"}', b'{"n": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_no_json_is_refused(raw: bytes):
    with pytest.raises(InvalidRequest):
        parse(raw, ChatRequest)


@pytest.mark.parametrize("raw", [b"[]", b"3", b'"x"', b"null"])
def test_a_body_is_an_object(raw: bytes):
    with pytest.raises(InvalidRequest, match="must be an object"):
        parse(raw, ChatRequest)


def test_an_infinite_number_in_disguise_is_refused():
    raw = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 1e999}'
    with pytest.raises(InvalidRequest) as caught:
        parse(raw, ChatRequest)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ["a"]),
        ("", [""]),
        ([5, 6], [(5, 6)]),
        (["a", "b"], ["a", "b"]),
        ([[5], [6, 7]], [(5,), (6, 7)]),
    ],
)
def test_the_forms_of_a_prompt(prompt, prompts):
    body = completion(prompt=prompt)
    generations = body.generations("id", None, body.sampling)
    assert [generation.prompt for generation in generations] == prompts
    assert len({generation.request_id for generation in generations}) == len(prompts)
    assert {generation.sampling.max_tokens for generation in generations} == {16}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [1, -1]}, "prompt[1]"),
        ({"prompt": ["a"] * 17}, "prompt"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"echo": 1}, "echo"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"suffix": "x"}, "suffix"),
        ({"messages": [HI]}, "messages"),
    ],
)
def test_what_is_wrong_with_a_completion(fields, param):
    assert refused(completion, **fields).param == param


def test_best_of_n_and_no_suffix_ask_for_nothing():
    assert completion(n=2, best_of=2, suffix=None).n == 2


def test_a_route_takes_messages_or_input_but_not_both():
    def route(**fields) -> RouteRequest:
        return parse(json.dumps(fields).encode(), RouteRequest)

    assert route(input="x").turns == ["x"]
    turns = [{"role": "system", "content": "s"}, HI, {"role": "assistant", "content": "a"}, HI]
    assert route(messages=turns).turns == ["hi", "hi"]
    assert refused(route).param == "messages"
    assert refused(route, input="x", messages=[HI]).param == "messages"
    assert refused(route, input="x", model="auto").param == "model"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 9}, "'n' must be at most 8."),
        ({"n": 1.5}, "'n' must be a whole number."),
        ({"n": "1"}, "'n' must be a whole number."),
        ({"temperature": -0.5}, "'temperature' must be at least 0."),
        ({"temperature": []}, "'temperature' must be a number."),
        ({"stream": 1}, "'stream' must be true or false."),
        ({"model": ""}, "'model' has too few characters; at least 1 are needed, these are 0."),
        ({"model": "ä" * 257},
         "'model' has too many characters; at most 256 are taken, these are 257."),
        ({"messages": []}, "'messages' has too few items; at least 1 are needed, these are 0."),
        ({"messages": [3]}, "'messages[0]' must be an object."),
        ({"messages": [{"role": "me", "content": "x"}]},
         "'messages[0].role' must be 'system', 'developer', 'user', 'assistant' or 'tool'."),
        ({"user": 3}, "'user' must be a string."),
        ({"stop": {}}, "'stop' must be a list."),
    ],
)  # fmt: skip
def test_a_refusal_is_written_for_people(fields, words):
    assert refused(chat, **fields).message == words


def test_a_field_that_pydantic_words_differently_is_worded_here_too():
    from registry.plain_words import in_words

    assert in_words({"type": "new_kind_of_error", "msg": "Input should be a Decimal"}) == (
        "is not a value that is taken here"
    )
