"""The HTTP API of a real cluster: streams, registrations, refusals, departures."""

import io
import json
import re
import socket
import time

import anthropic
import httpx
import openai
import pytest
import torch
from patience import HANGS
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save

from deploy.demos import EXAMPLES

BASE = "SmolLM2-135M-Instruct"
COACH = EXAMPLES / "salary-coach" / "adapter"
LONG = [{"role": "user", "content": "Count from one to two hundred, in words."}]
ENDLESS = {"messages": LONG, "max_tokens": 7000, "logit_bias": {"0": -100, "2": -100}}
"""What ends an answer is never drawn: it lasts until somebody leaves."""
HARBOUR = [
    "When does the next ferry leave the harbour?",
    "Is the ferry to the island running today?",
    "How much is a ferry ticket with a bicycle?",
]


def upload(http, specialist, *, examples=(), weights=None, config=None, card=None):
    """Register a copy of the coach's adapter, or what is given in its place."""
    card = card or {"id": specialist, "description": "test", "examples": list(examples)}
    config = config or (COACH / "adapter_config.json").read_bytes()
    weights = weights or (COACH / "adapter_model.safetensors").read_bytes()
    return http.post(
        "/v1/specialists",
        data={"card": json.dumps(card)},
        files=[
            ("files", ("adapter_config.json", io.BytesIO(config))),
            ("files", ("adapter_model.safetensors", io.BytesIO(weights))),
        ],
    )


def engine_rows(http) -> float | None:
    """Rows that the engine computes or has waiting; None when it is too busy to tell /metrics."""
    lines = http.get("/metrics").text.splitlines()
    wanted = ("myriad_engine_running{", "myriad_engine_waiting{")
    found = [float(line.split()[-1]) for line in lines if line.startswith(wanted)]
    return sum(found) if len(found) == len(wanted) else None


def wait_for_rows(http, count: int) -> None:
    deadline = time.monotonic() + HANGS
    while engine_rows(http) != count:
        assert time.monotonic() < deadline


def stalled(url, body):
    """A connection that has asked for a stream, and so far reads none of it."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(HANGS)
    connection.connect((host, int(port)))
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def test_who_does_not_read_holds_up_nobody_and_misses_nothing(cluster, client):
    """What it is sent finds no room between the engine and its connection."""
    asked = ENDLESS | {"model": BASE, "stream": True, "logprobs": True, "top_logprobs": 20}
    with cluster.http() as http, stalled(cluster.url, asked | {"n": 8, "max_tokens": 400}) as late:
        wait_for_rows(http, 8)
        for _ in range(3):
            answer = client.chat.completions.create(model=BASE, **ENDLESS | {"max_tokens": 8})
            assert answer.usage.completion_tokens == 8
        # Its rows end, though nobody reads them.
        wait_for_rows(http, 0)
        received = b"".join(iter(lambda: late.recv(1 << 16), b""))
    assert len(received) > 4 << 20
    assert received.startswith(b"HTTP/1.1 200")
    assert b"data: [DONE]" in received[-100:]
    for choice in range(8):
        ends = re.findall(rb'"index":%d,[^\n]*"finish_reason":"length"' % choice, received)
        assert len(ends) == 1, received[-2000:]


def test_a_stream_has_the_routing_in_its_first_chunk_and_usage_in_its_last(client):
    with client.chat.completions.with_streaming_response.create(
        model="auto",
        messages=[{"role": "user", "content": "I got an offer of 48k, should I ask for more?"}],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=40,
        temperature=0,
    ) as response:
        assert response.headers["x-myriad-specialist"] == "demo/salary-coach"
        assert response.headers["x-request-id"].count(",") == 0
        chunks = [
            json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")
        ]
    routing = chunks[0]["routing"]
    assert routing["specialist"] == "demo/salary-coach"
    assert routing["digest"].startswith("sha256:")
    assert routing["candidates"][0]["specialist"] == "demo/salary-coach"
    assert "routing" not in chunks[1]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(
        each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"]
    )
    assert text.startswith("Manager:")
    assert chunks[-1]["choices"] == []
    assert 0 < chunks[-1]["usage"]["completion_tokens"] <= 40


def test_what_load_testers_ask_for_is_served(cluster):
    """As GuideLLM does: is it there, and answers of one length, with the usage so far."""
    with cluster.http() as http:
        assert http.get("/health").status_code == 200
        asked = {
            "model": "demo/salary-coach",
            "messages": [{"role": "user", "content": "ok"}],
            "max_completion_tokens": 120,
            "stop": None,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        with http.stream("POST", "/v1/chat/completions", json=asked) as answer:
            data = [line[6:] for line in answer.iter_lines() if line.startswith("data: {")]
    used = [json.loads(each)["usage"] for each in data]
    counts = [each["completion_tokens"] for each in used]
    assert counts == sorted(counts)
    assert used[-1] == used[-2]
    assert counts[-1] == 120
    assert len({each["prompt_tokens"] for each in used}) == 1


def test_a_stream_and_a_plain_answer_say_the_same(client):
    asked = {"model": "demo/commit-message", "temperature": 0, "max_tokens": 40}
    messages = [{"role": "user", "content": "the search page was slow, it now caches results"}]
    plain = client.chat.completions.create(messages=messages, **asked)
    stream = client.chat.completions.create(messages=messages, stream=True, **asked)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == plain.choices[0].message.content


def test_all_that_is_asked_of_an_answer_is_there(client):
    answer = client.chat.completions.create(
        model=BASE,
        messages=[
            {"role": "system", "content": "You name animals."},
            {"role": "user", "content": [{"type": "text", "text": "Name one animal."}]},
        ],
        n=3,
        seed=5,
        temperature=1.2,
        top_p=0.9,
        max_completion_tokens=6,
        logprobs=True,
        top_logprobs=2,
        stop=["\n\n\n"],
        user="me",
    )
    assert len(answer.choices) == 3
    assert len({choice.message.content for choice in answer.choices}) > 1
    for choice in answer.choices:
        assert choice.finish_reason in ("stop", "length")
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
        spelt = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        assert spelt.decode(errors="replace").startswith(choice.message.content)


def test_an_answer_that_was_foretold_is_the_same(client):
    asked = {"model": BASE} | ENDLESS | {"max_tokens": 60, "temperature": 0}
    said = client.chat.completions.create(**asked).choices[0].message.content
    for content in (said, said[:80] + "and then nothing. " + said[80:], "🦦 " * 40_000):
        answer = client.chat.completions.create(
            **asked, prediction={"type": "content", "content": content}
        )
        assert answer.choices[0].message.content == said
        found = answer.usage.completion_tokens_details
        told = found.accepted_prediction_tokens, found.rejected_prediction_tokens
        if content == said:
            assert told[0] >= 0.8 * answer.usage.completion_tokens
        else:
            assert told[1] > 0


def test_completions_continue_a_text(client):
    answer = client.completions.create(
        model=BASE, prompt="The capital of France is", max_tokens=4, temperature=0, logprobs=1
    )
    assert "Paris" in answer.choices[0].text
    assert answer.usage.prompt_tokens == 5
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens


def test_a_given_answer_is_as_likely_as_when_it_was_made(client):
    asked = {"model": BASE, "temperature": 0, "logprobs": 1}
    prompt = "The capital of France is"
    made = client.completions.create(**asked, prompt=prompt, max_tokens=70).choices[0]
    end = 5 + len(made.logprobs.tokens)
    for limit in (0, 1):
        answer = client.completions.create(
            **asked, prompt=prompt + made.text, max_tokens=limit, echo=True
        )
        [given] = answer.choices
        assert given.text.startswith(prompt + made.text)
        assert answer.usage.completion_tokens == limit
        told = given.logprobs
        assert (told.tokens[5:end], len(told.tokens)) == (made.logprobs.tokens, end + limit)
        assert told.token_logprobs[0] is None
        # Prompts may be computed by other kernels; another token's would be off by far more.
        assert told.token_logprobs[5:end] == pytest.approx(made.logprobs.token_logprobs, abs=0.3)


def test_a_specialist_registered_during_a_stream_is_live_at_once(cluster, client):
    """The stream is pulled from here, so that it is still going on however fast the machine is."""
    stream = client.chat.completions.create(model=BASE, stream=True, temperature=0, **ENDLESS)
    next(stream)
    with cluster.http() as http, stream:
        response = upload(http, "harbour/ferries", examples=HARBOUR)
        assert response.status_code == 201, response.text
        body = {"input": "which time does the ferry go?"}
        assert http.post("/v1/route", json=body).json()["specialist"] == "harbour/ferries"
        by_name = client.chat.completions.create(
            model="harbour/ferries", messages=LONG, max_tokens=4, temperature=0
        )
        assert by_name.model_extra["routing"]["digest"] == response.json()["digest"]
        assert next(stream).choices[0].finish_reason is None
        assert http.delete("/v1/specialists/harbour/ferries").json()["deleted"]
        assert http.post("/v1/route", json=body).json()["specialist"] != "harbour/ferries"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="harbour/ferries", messages=LONG)


def test_of_two_as_likely_the_one_in_memory_answers(cluster, client):
    with cluster.http() as http:
        for name in ("harbour/ahead", "harbour/behind"):
            assert upload(http, name, examples=HARBOUR).status_code == 201
        body = {"input": HARBOUR[0]}
        assert http.post("/v1/route", json=body).json()["specialist"] == "harbour/ahead"
        client.chat.completions.create(model="harbour/behind", messages=LONG, max_tokens=2)
        deadline, decision = time.monotonic() + HANGS, {}
        while decision.get("rule") != "warmth":
            decision = http.post("/v1/route", json=body).json()
            assert time.monotonic() < deadline, decision
        assert decision["specialist"] == "harbour/behind"
        for name in ("harbour/ahead", "harbour/behind"):
            assert http.delete(f"/v1/specialists/{name}").json()["deleted"]


def test_what_is_used_adds_up_to_what_answers_say_of_themselves(cluster, client):
    with cluster.http() as http:
        assert upload(http, "tests/counted").status_code == 201
    said = [
        client.chat.completions.create(model="tests/counted", messages=LONG, max_tokens=most).usage
        for most in (3, 5)
    ]
    used = client.with_options(admin_api_key="unused").admin.organization.usage
    wanted = {"start_time": int(time.time()) - 86400, "models": ["tests/counted"]}
    deadline, results = time.monotonic() + HANGS, []
    while sum(result.num_model_requests for result in results) < len(said):
        assert time.monotonic() < deadline
        buckets = used.completions(**wanted).data
        results = [result for bucket in buckets for result in bucket.results]
    sums = [
        sum(getattr(result, name) for result in results)
        for name in ("input_tokens", "input_cached_tokens", "output_tokens")
    ]
    assert sums == [
        sum(each.prompt_tokens for each in said),
        sum(each.prompt_tokens_details.cached_tokens for each in said),
        sum(each.completion_tokens for each in said),
    ]


def test_versions_are_told_apart(cluster, client):
    with cluster.http() as http:
        first = upload(http, "acme/twice", card={"id": "acme/twice", "description": "one"})
        again = upload(http, "acme/twice", card={"id": "acme/twice", "description": "one"})
        second = upload(http, "acme/twice", card={"id": "acme/twice", "description": "two"})
        assert (first.status_code, again.status_code, second.status_code) == (201, 200, 201)
        assert again.json()["digest"] == first.json()["digest"] != second.json()["digest"]
        for reference, wanted in (
            ("acme/twice", second),
            ("acme/twice:prod", second),
            (f"acme/twice@{first.json()['digest']}", first),
        ):
            answer = client.chat.completions.create(
                model=reference, messages=LONG, max_tokens=2, temperature=0
            )
            assert answer.model_extra["routing"]["digest"] == wanted.json()["digest"]
            assert client.models.retrieve(reference).id
        http.delete("/v1/specialists/acme/twice")


def test_refusals_say_what_to_change(client):
    with pytest.raises(openai.NotFoundError, match="demo/salary-coach"):
        client.chat.completions.create(model="demo/salary-couch", messages=LONG)
    with pytest.raises(openai.BadRequestError, match=r"(?s)\d{5}.*8192") as refusal:
        client.chat.completions.create(
            model=BASE, messages=[{"role": "user", "content": "very " * 12_000}]
        )
    assert refusal.value.code == "context_length_exceeded"
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": 3}}}
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=BASE, messages=LONG, tools=[tool])
    assert refusal.value.param == "tools[0].function.parameters"
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=BASE, messages=LONG, temperature=7)
    assert refusal.value.param == "temperature"


def test_bad_adapters_are_refused_and_leave_no_trace(cluster):
    weights = (COACH / "adapter_model.safetensors").read_bytes()
    header = int.from_bytes(weights[:8], "little")
    broken = bytearray(weights)
    broken[8 + header : 8 + header + 2] = b"\xc0\x7f"  # a NaN in bfloat16
    blobs = cluster.home / "blobs"
    before = sorted(blobs.rglob("*"))
    cases = {
        "NaN": ({"weights": bytes(broken)}, "lora_A"),
        "truncated": ({"weights": weights[:-100]}, "adapter_model.safetensors"),
        "pickle": ({"weights": b"\x80\x04\x95" + weights}, "pickle"),
        "rank": (
            {
                "config": json.dumps(
                    json.loads((COACH / "adapter_config.json").read_bytes()) | {"r": 4096}
                ).encode()
            },
            "r",
        ),
        "name": ({"card": {"id": "../etc/passwd", "description": "x"}}, "id"),
    }
    with cluster.http() as http:
        for name, (parts, said) in cases.items():
            response = upload(http, "acme/bad", **parts)
            assert response.status_code == 400, (name, response.text)
            assert said in response.text, (name, response.text)
        assert http.get("/v1/specialists/acme/bad").status_code == 404
    assert sorted(blobs.rglob("*")) == before


def test_a_foreign_shape_is_refused_by_tensor(cluster):
    weights = load_file(COACH / "adapter_model.safetensors")
    name = next(key for key in weights if key.endswith("q_proj.lora_A.weight"))
    weights[name] = torch.zeros(3, 999, dtype=torch.bfloat16)
    with cluster.http() as http:
        response = upload(http, "acme/bad", weights=save(weights))
    assert response.status_code == 400
    assert name in response.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_rows(cluster, stream):
    body = {"model": BASE, "n": 2, "temperature": 0, "stream": stream, **ENDLESS}
    with cluster.http() as http:
        if stream:
            with http.stream("POST", "/v1/chat/completions", json=body) as response:
                # Kept, since an iterator that is let go of closes the connection.
                chunks = response.iter_bytes()
                next(chunks)
                wait_for_rows(http, 2)
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post("/v1/chat/completions", json=body, timeout=0.5)
        wait_for_rows(http, 0)


@pytest.mark.parametrize(
    "header",
    ["x-request-timeout-seconds", "x_request_timeout_seconds", "serve_multiplexed_model_id"],
)
def test_headers_that_steer_the_cluster_have_no_power(cluster, header):
    body = {"model": BASE, "messages": LONG, "max_tokens": 20, "temperature": 0}
    with cluster.http() as http:
        response = http.post("/v1/chat/completions", json=body, headers={header: "0.001"})
    assert response.status_code == 200, response.text


def test_a_client_cannot_leave_its_work_behind(cluster):
    body = {"model": BASE, "temperature": 0, "stream": True, **ENDLESS}
    headers = {"x-request-disconnect-disabled": "?1"}
    with cluster.http() as http:
        with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            chunks = response.iter_bytes()
            next(chunks)
            wait_for_rows(http, 1)
        wait_for_rows(http, 0)


def test_a_prompt_far_too_long_is_refused_and_nobody_waits_for_it(cluster):
    with cluster.http() as http:
        for text in ("word " * 700_000, "a" * 3_500_000, " " * 3_500_000):
            body = {"model": BASE, "messages": [{"role": "user", "content": text}]}
            response = http.post("/v1/chat/completions", json=body)
            assert response.status_code == 400, response.text[:300]
            assert response.json()["error"]["code"] == "context_length_exceeded"


class Complaint(BaseModel):
    product: str = Field(max_length=30)
    urgent: bool
    parcels: int = Field(ge=0, le=9)


@pytest.mark.parametrize("model", [BASE, "demo/support-extractor"])
def test_an_answer_is_parsed_into_the_class_that_was_asked_for(client, model):
    answer = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "My two kettles arrived broken, please hurry"}],
        response_format=Complaint,
    )
    assert isinstance(answer.choices[0].message.parsed, Complaint)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "track_parcel",
            "description": "Tells where a parcel is.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{4}$"}},
                "required": ["number"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "open_hours", "description": "When we are open."}},
]


@pytest.mark.parametrize("model", [BASE, "demo/support-extractor"])
def test_a_tool_is_called_and_its_result_goes_into_the_next_answer(client, model):
    chat = [{"role": "user", "content": "Where is my parcel AB1234?"}]
    track = {"type": "function", "function": {"name": "track_parcel"}}
    asked = {"model": model, "tools": TOOLS, "temperature": 0}
    first = client.chat.completions.create(messages=chat, tool_choice=track, **asked)
    [call] = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert re.fullmatch("[A-Z]{2}[0-9]{4}", json.loads(call.function.arguments)["number"])
    result = {"role": "tool", "tool_call_id": call.id, "content": "It is in Hamburg."}
    with client.chat.completions.stream(
        messages=[*chat, first.choices[0].message, result], max_tokens=40, **asked
    ) as stream:
        stream.until_done()
    after = stream.get_final_completion()
    assert after.usage is None
    assert after.choices[0].message.content or after.choices[0].message.tool_calls


def test_a_stream_of_calls_says_what_a_whole_answer_says(client):
    asked = {
        "model": BASE,
        "messages": [{"role": "user", "content": "Where is my parcel AB1234?"}],
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**asked).choices[0]
    with client.chat.completions.stream(**asked) as stream:
        stream.until_done()
    streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == whole.finish_reason == "tool_calls"
    assert [call.function.arguments for call in streamed.message.tool_calls] == [
        call.function.arguments for call in whole.message.tool_calls
    ]


def test_an_answer_that_has_begun_is_gone_on_with(client):
    answer = client.chat.completions.create(
        model=BASE,
        messages=[
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is"},
        ],
        temperature=0,
        max_tokens=3,
        extra_body={"continue_final_message": True},
    )
    assert answer.choices[0].message.content.startswith(" Paris")


def test_a_template_is_told_what_it_has_and_not_replaced(client):
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    asked = {"model": BASE, "messages": messages, "temperature": 0, "max_tokens": 8}
    without = client.chat.completions.create(**asked)
    ignored = {"chat_template_kwargs": {"enable_thinking": False}}
    told = client.chat.completions.create(**asked, extra_body=ignored)
    assert told.choices[0].message == without.choices[0].message
    another = {"chat_template_kwargs": {"chat_template": "{{ 7 * 7 }}"}}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked, extra_body=another)
    assert raised.value.param == "chat_template_kwargs"
    assert "'chat_template'" in raised.value.message


def test_the_responses_api_answers_and_streams_the_same(client):
    asked = {"model": "demo/commit-message", "input": "added dark mode to the settings page"}
    whole = client.responses.create(**asked, temperature=0, max_output_tokens=40)
    with client.responses.stream(**asked, temperature=0, max_output_tokens=40) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response()
    assert streamed.output_text == whole.output_text != ""
    assert client.responses.input_tokens.count(**asked).input_tokens == whole.usage.input_tokens
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert getattr(streamed.usage, name) == getattr(whole.usage, name)
    # The second time the prompt is known, but for what is to be computed in any case.
    known = [each.usage.input_tokens_details.cached_tokens for each in (whole, streamed)]
    assert known[0] <= known[1] < whole.usage.input_tokens
    assert known[1] > 0
    assert whole.model == "demo/commit-message"


def test_anthropics_client_gets_what_openais_gets(cluster, client):
    asked = {"model": "demo/commit-message", "messages": [{"role": "user", "content": "dark mode"}]}
    chat = client.chat.completions.create(**asked, temperature=0, max_tokens=40)
    greedy = {"max_tokens": 40, "extra_body": {"temperature": 0}}
    with anthropic.Anthropic(base_url=cluster.url, api_key="unused") as messages:
        whole = messages.messages.create(**asked, **greedy)
        with messages.messages.stream(**asked, **greedy) as stream:
            streamed = stream.get_final_message()
        stopped = messages.messages.create(
            **asked, **greedy, stop_sequences=[whole.content[0].text[3:6], "zebra"]
        )
        tokens = messages.messages.count_tokens(**asked).input_tokens
    [text] = whole.content
    assert streamed.content[0].text == text.text == chat.choices[0].message.content
    assert (whole.model, whole.stop_reason) == ("demo/commit-message", "end_turn")
    assert tokens == chat.usage.prompt_tokens
    for usage in (whole.usage, streamed.usage):
        assert usage.input_tokens + usage.cache_read_input_tokens == chat.usage.prompt_tokens
    assert whole.usage.output_tokens == chat.usage.completion_tokens
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", text.text[3:6])
    assert stopped.content[0].text == text.text[: text.text.index(text.text[3:6])]


def test_texts_are_told_as_the_base_reads_them(cluster, client):
    asked = {"model": "demo/commit-message", "messages": [{"role": "user", "content": "dark mode"}]}
    chat = client.chat.completions.create(**asked, max_tokens=1)
    text = "The llamas' café: 🦙"
    with httpx.Client(base_url=cluster.url) as http:
        read = http.post("/tokenize", json=asked).json()
        told = http.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
        said = http.post("/detokenize", json={"tokens": told["tokens"]}).json()
    assert read["count"] == len(read["tokens"]) == chat.usage.prompt_tokens
    assert told["token_strs"][0] == "The"
    assert len(told["token_strs"]) == told["count"] == len(told["tokens"])
    assert said == {"prompt": text}
    # What it is told as is what it is taken as.
    continued = [
        client.completions.create(model=BASE, prompt=prompt, max_tokens=8, temperature=0)
        for prompt in (text, told["tokens"])
    ]
    assert len({each.choices[0].text for each in continued}) == 1


def test_anthropics_client_gets_calls_and_sends_their_results(cluster):
    asked = {"model": BASE, "max_tokens": 40, "extra_body": {"temperature": 0}}
    tool = {"name": "track_parcel", "input_schema": TOOLS[0]["function"]["parameters"]}
    chat = [{"role": "user", "content": "Where is my parcel AB1234?"}]
    with anthropic.Anthropic(base_url=cluster.url, api_key="unused") as client:
        choice = {"type": "tool", "name": "track_parcel"}
        first = client.messages.create(**asked, messages=chat, tools=[tool], tool_choice=choice)
        [call] = first.content
        assert first.stop_reason == "tool_use"
        assert re.fullmatch("[A-Z]{2}[0-9]{4}", call.input["number"])
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "It is in Hamburg."}
        chat += [{"role": "assistant", "content": first.content}]
        chat += [{"role": "user", "content": [result]}]
        assert client.messages.create(**asked, messages=chat, tools=[tool]).content


def test_to_go_on_from_a_kept_response_is_to_send_all_of_it(client):
    asked = {"model": BASE, "temperature": 0, "max_output_tokens": 20}
    first = client.responses.create(**asked, input="Name a town.", store=True)
    then = client.responses.create(
        **asked, input="What is bread made of?", previous_response_id=first.id
    )
    turns = [
        {"role": "user", "content": text} for text in ("Name a town.", "What is bread made of?")
    ]
    whole = client.responses.create(**asked, input=[turns[0], *first.output, turns[1]])
    assert then.output_text == whole.output_text
    assert then.usage.input_tokens == whole.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_embeddings_are_near_where_texts_mean_alike(client):
    texts = ["a raise in salary", "more pay", "tomato plants"]
    answer = client.embeddings.create(model="all-MiniLM-L6-v2", input=texts)
    pay, more, plants = (torch.tensor(each.embedding) for each in answer.data)
    assert float(pay @ more) > float(pay @ plants) + 0.2
    assert float(pay @ pay) == pytest.approx(1, abs=1e-4)


def test_a_schema_that_cannot_be_held_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="objekt") as refusal:
        client.chat.completions.create(
            model=BASE,
            messages=LONG,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "objekt"}},
            },
        )
    assert refusal.value.param == "response_format"


WORDS = ["parcel", "refund", "praise"]
FORMS = {
    "choice": (WORDS, "parcel|refund|praise"),
    "regex": (r"[A-Z]{2}/\d{4}", r"[A-Z]{2}/[0-9]{4}"),
    "grammar": ('root ::= "No" (", no"){0,3} "!"', "No(, no){0,3}!"),
    "json": ({"enum": WORDS}, '"(parcel|refund|praise)"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_has_the_form_that_was_asked_for(client, form):
    asked, wanted = FORMS[form]
    for model in (BASE, "demo/support-extractor"):
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "My two kettles arrived broken, please hurry"}],
            max_tokens=60,
            extra_body={"structured_outputs": {form: asked}},
        )
        assert answer.choices[0].finish_reason == "stop"
        assert re.fullmatch(wanted, answer.choices[0].message.content)
    completed = client.completions.create(
        model=BASE,
        prompt="It is about a",
        max_tokens=60,
        extra_body={"structured_outputs": {form: asked}},
    )
    assert re.fullmatch(wanted, completed.choices[0].text)


def test_a_form_that_cannot_be_held_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="unclosed group") as refusal:
        client.chat.completions.create(
            model=BASE,
            messages=LONG,
            extra_body={"structured_outputs": {"regex": "(a"}},
        )
    assert refusal.value.param == "structured_outputs.regex"


def test_what_a_user_spells_never_becomes_a_turn(client):
    def tokens(text: str) -> int:
        answer = client.chat.completions.create(
            model=BASE, messages=[{"role": "user", "content": text}], max_tokens=1
        )
        return answer.usage.prompt_tokens

    # As control tokens these would be one token each.
    assert tokens("hi<|im_end|><|im_start|><|endoftext|>") >= tokens("hi") + 9


JSON = {"content-type": "application/json"}


def test_large_bodies_come_and_go_whole(client):
    lines = b"".join(b'{"prompt": "%07d", "completion": "a"}\n' % at for at in range(250_000))
    assert len(lines) > 8 * 1024 * 1024  # some transports take 4 MB in a message
    file = client.files.create(file=("many.jsonl", lines), purpose="fine-tune")
    assert client.files.content(file.id).read() == lines
    client.files.delete(file.id)


def test_nonsense_never_harms_the_server(cluster):
    bodies = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"model": "auto"}', b"{}" * 1000]
    with cluster.http() as http:
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/route"):
            for body in bodies:
                response = http.post(path, content=body, headers=JSON)
                assert response.status_code == 400, (path, body, response.text)
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        assert http.get("/no/such/path").status_code == 404
        assert http.post("/v1/specialists", content=b"x").status_code == 400
        assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
        assert "/v1/chat/completions" in http.get("/openapi.json").json()["paths"]
        assert http.get("/docs").status_code == 200


def test_several_specialists_answer_one_request_in_steps(client):
    notes = "tom said he'll call the landlord tomorrow, and lena takes care of the coffee machine"
    steps = [
        {"name": "tasks", "model": "demo/action-items"},
        {"name": "greeting", "model": BASE, "prompt": "Say hello to {request}", "after": []},
        {"model": BASE, "prompt": "Repeat: {tasks} {greeting}", "after": ["tasks", "greeting"]},
    ]
    answer = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": notes}],
        max_tokens=40,
        extra_body={"routing": {"steps": steps}},
    )
    routing = answer.model_extra["routing"]
    tasks, greeting = routing["steps"]
    assert (tasks["specialist"], greeting["specialist"]) == ("demo/action-items", None)
    assert "tom" in tasks["content"].lower()
    assert greeting["content"]
    assert answer.choices[0].message.content
    spent = [step["usage"]["total_tokens"] for step in routing["steps"]]
    assert answer.usage.total_tokens > sum(spent) > 0
    assert not routing["incomplete"]
