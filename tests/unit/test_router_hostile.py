"""Bodies made to keep the server busy: refused before any costly step, and nobody else waits."""

import asyncio
import gc
import json
import socket
import threading
import time
import tracemalloc
from functools import cache

import httpx
import pytest
import tiny_adapter
from patience import HANGS
from pydantic_core import from_json
from served import ASKED_IN_JSON, BASE, served, service

from deploy.replica import settled
from registry.conversations import Conversation
from registry.limits import Limits
from router.api import connection
from router.api.app import create_app
from router.engine import Delta, Reading, Usage
from router.errors import Overloaded
from router.gate import Gate
from router.logprobs import TokenLogprob, packed
from router.pool import Pool
from router.wire import body as wire

MIB4 = 4 << 20


def filled(start: str, item: str, end: str) -> bytes:
    """As many items as 4 MiB hold."""
    count = (MIB4 - len(start) - len(end)) // (len(item) + 1)
    return (start + ",".join([item] * count) + end).encode()


def said(text: str) -> bytes:
    """A chat of one message, whose text is as it stands in JSON."""
    return f'{CHAT}[{{"role": "user", "content": "{text}"}}]}}'.encode()


CHAT = '{"model": "auto", "messages": '
CORPUS = {
    "many messages with a wrong field": filled(CHAT + "[", '{"contant":1}', "]}"),
    "many empty messages": filled(CHAT + "[", "{}", "]}"),
    "many lists": filled(CHAT + "[", "[]", "]}"),
    "many numbers": filled('{"model": "auto", "prompt": [', "1", "]}"),
    "many parts": filled(CHAT + '[{"role": "user", "content": [', "{}", "]}]}"),
    "many biases": (
        CHAT + "[], \"logit_bias\": {" + ",".join(f'"{n}":1' for n in range(140_000)) + "}}"
    ).encode(),
    "a schema of many keys": (
        CHAT + '[], "response_format": {"type": "json_schema", "json_schema": {"name": "n", '
        '"schema": {' + ",".join(f'"{n}":1' for n in range(140_000)) + "}}}}"
    ).encode(),
    "a schema of long texts": (
        CHAT + '[{"role": "user", "content": "x"}], "response_format": {"type": "json_schema", '
        '"json_schema": {"name": "n", "schema": {"description": "' + "x" * (MIB4 - 300) + '"}}}}'
    ).encode(),
    "a form of many keys, as a text": (
        CHAT + '[{"role": "user", "content": "x"}], "structured_outputs": {"json": '
        + json.dumps("{" + ",".join(f'"{n}":1' for n in range(140_000)) + "}") + "}}"
    ).encode(),
    "a form of long choices": (
        CHAT + '[{"role": "user", "content": "x"}], "structured_outputs": {"choice": '
        + json.dumps(["x" * 4000] * 1000) + "}}"
    ).encode(),
    "many inputs": filled('{"model": "m", "input": [', '"a"', "]}"),
    "as many inputs as are taken": (
        '{"model": "m", "input": ' + json.dumps(["x" * 16_000] * 256) + "}"
    ).encode(),
    "many keys": b'{"model": "auto",' + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}",
    "a long key": b'{"model": "auto", "' + b"k" * (MIB4 - 40) + b'": 1}',
    "a long text": said("a " * (MIB4 // 2 - 50)),
    "a long text of escapes": said("\\n" * (MIB4 // 2 - 50)),
    "a long role": (CHAT + '[{"role": "' + "a" * (MIB4 - 100) + '", "content": "x"}]}').encode(),
    "a long model": ('{"model": "' + "m" * (MIB4 - 100) + '", "messages": []}').encode(),
    "deep lists": b"[" * (MIB4 - 10),
    "brackets in a text": said("[{" * 30_000),
    "as many messages as are taken": (
        CHAT + json.dumps([{"role": "user", "content": "x" * 1000}] * 2048) + "}"
    ).encode(),
    "as many blocks as are taken": (
        CHAT + json.dumps([{"role": "user", "content": [{"type": "text", "text": "x"}] * 7}] * 2048)
        + "}"
    ).encode(),
    "as many calls as are taken": (
        CHAT + json.dumps([
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "1", "name": "n", "input": {"a": "x" * 100}}
            ] * 3}
        ] * 2048 + [{"role": "user", "content": "x"}]) + "}"
    ).encode(),
    "as many wrong messages as are taken": (
        CHAT + json.dumps([{"role": "user", "contentt": "x"}] * 2048) + "}"
    ).encode(),
}  # fmt: skip


class Probe:
    """Longest time for which the event loop's thread was busy with one thing, in CPU seconds."""

    def __init__(self):
        self.longest = 0.0

    async def run(self):
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - last)
            last = now


async def ask(app, path: str, content: bytes, method: str = "POST") -> tuple[httpx.Response, float]:
    """An answer, and for how long the loop was busy with one thing meanwhile."""
    probe = Probe()
    probing = asyncio.create_task(probe.run())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"content-type": "application/json"}
        response = await client.request(method, path, content=content, headers=headers)
        # The probe looks once more: what came last may have taken longest.
        await asyncio.sleep(0)
    probing.cancel()
    return response, probe.longest


@cache
def slowness() -> float:
    """How much slower than a usual core this one is; at least 1."""
    document = json.dumps([{"role": "user", "content": "x"}] * 20_000).encode()
    times = []
    for _ in range(5):
        began = time.thread_time()
        from_json(document)
        times.append(time.thread_time() - began)
    return max(1.0, min(times) / 0.005)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with service(tmp_path_factory.mktemp("home")) as made:
        read = Reading(tuple(range(100_000)), ("piece",) * 100_000, 131_072)
        made.engine.script = lambda _: [
            Delta(0, "ok", 1, finish_reason="stop", read=read),
            Usage(1, 1),
        ]
        app = create_app(made)
        # As replicas do: what other tests have left here is not looked through for garbage.
        settled()
        yield app
        gc.unfreeze()


@pytest.mark.parametrize(
    "path",
    ASKED_IN_JSON,
)
@pytest.mark.parametrize("name", CORPUS)
def test_no_body_holds_the_event_loop_for_long(app, path, name):
    tries = []
    while len(tries) < 3 and (not tries or tries[-1] >= 0.05 * slowness()):
        # What else the machine does can hold up one of them, hardly all.
        response, longest = asyncio.run(ask(app, path, CORPUS[name]))
        tries.append(longest)
    assert response.status_code in (200, 400, 404), response.text[:300]
    assert len(response.content) < 2_000_000
    assert tries[-1] < 0.05 * slowness(), tries


def test_the_number_of_messages_is_looked_at_before_the_messages(monkeypatch):
    from router.wire.chat import MAX_MESSAGES, ChatMessage, ChatRequest

    looked = []
    monkeypatch.setattr(ChatMessage, "unsupported", type("Seen", (dict,), {
        "__contains__": lambda self, key: looked.append(key) or False
    })())  # fmt: skip
    messages = [{"role": "user", "content": "x"}] * (MAX_MESSAGES + 1)
    raw = json.dumps({"model": "auto", "messages": messages}).encode()
    with pytest.raises(Exception, match="at most 2,048 are taken") as refusal:
        wire.parse(raw, ChatRequest)
    assert refusal.value.param == "messages"
    assert looked == []


def test_brackets_beyond_any_request_are_refused_with_what_to_do(app):
    response, _ = asyncio.run(ask(app, "/v1/chat/completions", CORPUS["many lists"]))
    assert response.json()["error"]["code"] == "body_too_complex"
    assert "send less at once" in response.json()["error"]["message"]


def test_work_of_one_purpose_does_not_wait_for_another():
    """Uploads that hang leave routing and look-ups their threads."""
    release = threading.Event()

    async def race() -> str:
        writing, routing = Pool("writing", 2), Pool("routing", 2)
        stuck = [asyncio.create_task(writing.run(release.wait)) for _ in range(20)]
        answer = await routing.run(lambda: "routed")
        release.set()
        await asyncio.gather(*stuck)
        writing.close()
        routing.close()
        return answer

    assert asyncio.run(race()) == "routed"


def test_a_gate_counts_who_is_inside():
    gate = Gate(1)
    refused = pytest.raises(Overloaded, match="Too many uploads")
    with gate.entered("uploads"), refused, gate.entered("uploads"):
        raise AssertionError("two are inside")
    with pytest.raises(KeyError), gate.entered("uploads"):
        raise KeyError
    with gate.entered("uploads"):
        pass


def test_uploads_beyond_those_that_are_read_at_once_are_told_to_come_again(tmp_path):
    with service(tmp_path) as made, served(made) as url:
        address = httpx.URL(url)
        head = b"POST /v1/specialists HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n"
        head += b"content-type: multipart/form-data; boundary=b\r\n\r\n--b"
        lines = []
        entered = threading.Semaphore(0)
        reading = connection.bounded
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("router.api.multipart.bounded", lambda *args: (
                entered.release(), reading(*args)
            )[1])  # fmt: skip
            for _ in range(4):
                line = socket.create_connection((address.host, address.port))
                line.sendall(head)
                lines.append(line)
                assert entered.acquire(timeout=HANGS)
            files = {"adapter_config": ("a", b"{}")}
            refused = httpx.post(f"{url}/v1/specialists", files=files, timeout=HANGS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"{url}/healthz", timeout=HANGS).status_code == 200
        for line in lines:
            line.close()


def test_a_body_that_stalls_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.05)
    with service(tmp_path) as made, served(made) as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port), timeout=HANGS) as line:
            head = b"POST /v1/route HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n"
            line.sendall(head + b"content-type: application/json\r\n\r\n{")
            assert b" 408 " in line.recv(4096).partition(b"\r\n")[0]


def test_a_large_upload_is_mapped_and_not_held_in_memory(tmp_path):
    """Its bytes lie in a file; what is read of it are views into that file."""
    weights = tiny_adapter.weights() + bytes(48 << 20)
    boundary = b"b" * 20
    parts = b"".join(
        b'--%s\r\ncontent-disposition: form-data; name="%s"; filename="x"\r\n\r\n%s\r\n'
        % (boundary, name, content)
        for name, content in (
            (b"card", b'{"id": "a/b", "description": "x"}'),
            (b"adapter_config", tiny_adapter.config()),
            (b"adapter_model", weights),
        )
    )
    body = parts + b"--%s--\r\n" % boundary

    async def send() -> tuple[int, int]:
        places = iter(range(0, len(body), 1 << 16))

        async def receive():
            at = next(places, None)
            chunk = b"" if at is None else body[at : at + (1 << 16)]
            return {"type": "http.request", "body": chunk, "more_body": at is not None}

        sent = []

        async def note(message):
            sent.append(message)

        headers = [(b"content-type", b"multipart/form-data; boundary=" + boundary)]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/specialists", "raw_path": b"",
            "query_string": b"", "headers": headers, "state": {}, "root_path": "",
            "scheme": "http", "server": ("x", 80), "client": ("x", 1), "http_version": "1.1",
        }  # fmt: skip
        tracemalloc.start()
        await app(scope, receive, note)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return sent[0]["status"], peak

    with service(tmp_path, limits=Limits()) as made:
        app = create_app(made)
        status, peak = asyncio.run(send())
    assert status == 400
    assert peak < 12 << 20


LIKELY = packed(TokenLogprob(" a", -1.0, b" a", (TokenLogprob(" a", -1.0, b" a"),) * 20))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "store": True}),
        ("/v1/completions", {"prompt": "x"}),
    ],
)
def test_no_answer_holds_the_event_loop_for_long(app, path, asked):
    """Of 8,000 tokens, each with the twenty likeliest: it takes a second to write."""
    whole, engine = Delta(0, " a" * 8000, 8000, (LIKELY,) * 8000, "stop"), app.state.service.engine
    before, engine.script = engine.script, lambda _: [whole, Usage(1, 8000)]
    likeliest = {"logprobs": True, "top_logprobs": 20} if "messages" in asked else {"logprobs": 5}
    body = {"model": BASE, **asked, **likeliest, "max_tokens": 8000}
    try:
        response, longest = asyncio.run(ask(app, path, json.dumps(body).encode()))
    finally:
        engine.script = before
    assert response.status_code == 200, response.text[:300]
    assert len(response.content) > 5_000_000
    assert longest < 0.05 * slowness()


def test_no_page_of_conversations_holds_the_event_loop_for_long(app):
    """Personal data is taken out of each: of all of them it takes a second."""
    kept = app.state.service.registry.conversations
    turns = [{"role": "user", "content": "call me at +49 170 1234567, or not. " * 600}]
    answer = {"choices": [{"message": {"role": "assistant", "content": "ok"}}]}
    for number in range(100):
        kept.keep(Conversation(f"chatcmpl-{number}", "m", {"messages": turns}, answer, {}))
    response, longest = asyncio.run(ask(app, "/v1/base/conversations?limit=100", b"", method="GET"))
    assert len(response.json()["data"]) == 100
    assert "1234567" not in response.text
    assert longest < 0.05 * slowness()
