import inspect
import json

import httpx
import pytest
from cli_world import adapter_folder, live
from hypothesis import given
from hypothesis import strategies as st

from deploy.client import Client
from deploy.connection import _events
from deploy.errors import InvalidSetting, ServerRefused, ServerUnreachable
from router.sampling import Sampling

URL = "http://127.0.0.1:9"
MESSAGES = [{"role": "user", "content": "help me ask for a raise"}]


def client(answer) -> Client:
    return Client(URL, transport=httpx.MockTransport(answer))


def answering(status: int = 200, **content) -> Client:
    return client(lambda request: httpx.Response(status, **content))


def upstream_errors() -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(httpx, inspect.isclass)]
    roots = (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects, httpx.StreamError)
    return [kind for kind in found if issubclass(kind, roots)]


@pytest.mark.parametrize("kind", upstream_errors(), ids=lambda kind: kind.__name__)
def test_every_upstream_error_becomes_ours(kind):
    def fail(request):
        speechless = issubclass(kind, httpx.StreamError) and kind is not httpx.StreamError
        raise kind() if speechless else kind("boom")

    for ask in (lambda c: c.route("x"), lambda c: c.ready(), lambda c: list(c.chat([], "auto"))):
        with pytest.raises(ServerUnreachable, match=URL):
            ask(client(fail))


def test_a_server_that_is_not_there_says_how_to_start_one():
    with Client(URL) as nobody, pytest.raises(ServerUnreachable) as caught:
        nobody.route("hello")
    expected = f"nothing answers at {URL}: start it with `myriad up`, or set MYRIAD_URL"
    assert str(caught.value) == expected


def test_a_refusal_keeps_status_message_and_code():
    body = {"error": {"message": "no", "type": "x", "param": None, "code": "model_not_found"}}
    for ask in (lambda c: c.specialist("a/b"), lambda c: list(c.chat([], "a/b"))):
        with pytest.raises(ServerRefused, match=r"^no$") as caught:
            ask(answering(404, json=body))
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")


FOREIGN = ("<html>", "[]", '{"error": "text"}', '{"error": {}}', '{"detail": "Not Found"}')


@pytest.mark.parametrize(
    ("status", "content"),
    [(status, content) for status in (302, 404, 500) for content in FOREIGN]
    + [(200, "<html>"), (200, "[]"), (204, "")],
)
def test_another_program_at_the_address_is_recognised(status, content):
    for ask in (lambda c: c.route("x"), lambda c: c.ready()):
        with pytest.raises(ServerRefused, match="is another program there") as caught:
            ask(answering(status, text=content))
        assert caught.value.status == status


@pytest.mark.parametrize("event", ["<html>", "[]", "7", '{"error": {}}'])
def test_an_event_that_is_none_of_ours_is_recognised(event):
    with pytest.raises(ServerRefused, match="is another program there"):
        list(answering(text=f"data: {event}\n\n").chat([], "auto"))


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://a:b"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InvalidSetting, match="write it like"):
        Client(url)


def test_a_path_before_the_api_is_kept():
    seen = []
    transport = httpx.MockTransport(
        lambda r: seen.append(r.url.path) or httpx.Response(200, json={})
    )
    Client("http://host/myriad/", transport).route("x")
    assert seen == ["/myriad/v1/route"]


def test_no_proxy_stands_before_loopback(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    proxied = {
        url: any("http" in str(p) for p in Client(url)._http._mounts)
        for url in ("http://127.0.0.1:8", "http://localhost:8", "http://[::1]:8")
    }
    assert not any(proxied.values())
    assert Client("http://example.org")._http._mounts


@given(st.lists(st.text().map(lambda text: json.dumps({"x": text}, ensure_ascii=False))), st.data())
def test_events_survive_any_cut(texts, data):
    stream = b"".join(b": note\r\n\r\n" + f"data: {text}\n\n".encode() for text in texts)
    size = data.draw(st.integers(1, max(len(stream), 1)))
    pieces = (stream[at : at + size] for at in range(0, len(stream), size))
    assert [json.loads(event) for event in _events(pieces)] == [json.loads(text) for text in texts]


def test_a_stream_that_ends_early_is_an_error():
    stream = answering(text='data: {"choices": []}\n\n').chat([], "auto")
    assert next(stream) == {"choices": []}
    with pytest.raises(ServerUnreachable, match="broke the answer off"):
        next(stream)


def test_an_error_within_a_stream_is_a_refusal():
    stream = answering(text='data: {"error": {"message": "engine died", "code": null}}\n\n')
    with pytest.raises(ServerRefused, match="engine died"):
        list(stream.chat([], "auto"))


def test_pages_are_followed_up_to_the_limit():
    asked = []

    def pages(request):
        asked.append(dict(request.url.params))
        number = int(request.url.params.get("cursor", 0))
        data = [{"id": f"a/{number}-{i}"} for i in range(int(request.url.params["limit"]))]
        body = {"data": data, "has_more": number < 3, "next_cursor": str(number + 1)}
        return httpx.Response(200, json=body)

    page = client(pages).specialists(search="x", limit=250)
    assert len(page["data"]) == 250
    assert page["has_more"]
    assert [each.get("cursor") for each in asked] == [None, "1", "2"]
    assert {each["search"] for each in asked} == {"x"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def real(server):
    with Client(server.url) as real:
        yield real


def test_chat_streams_with_routing_first_and_usage_last(real):
    chunks = list(real.chat(MESSAGES, "auto", max_tokens=5, seed=None))
    assert chunks[0]["routing"]["specialist"] == "ada/coach"
    assert chunks[-1]["usage"]["prompt_tokens"] == 6
    text = "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])
    assert text == MESSAGES[0]["content"]


def test_what_is_not_given_is_not_sent(real, server):
    list(real.chat(MESSAGES, "auto", max_tokens=5, temperature=None))
    assert server.engine.generations[-1].sampling == Sampling(max_tokens=5)


def test_a_specialist_lives_and_dies(real, tmp_path):
    folder = adapter_folder(tmp_path)
    files = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    made = real.register({"id": "eve/new", "description": "New."}, *files)
    assert (made["id"], made["version"]) == ("eve/new", 1)
    assert real.specialist("eve/new")["digest"] == made["digest"]
    assert "eve/new" in [each["id"] for each in real.specialists()["data"]]
    real.retire("eve/new")
    with pytest.raises(ServerRefused, match=r"eve/new") as caught:
        real.specialist("eve/new")
    assert caught.value.status == 404


def test_the_server_tells_of_itself(real):
    assert real.ready().ready
    assert real.base() == "tiny"
    assert "myriad_snapshot_generation" in real.metrics()


def test_not_ready_is_an_answer(real, server):
    server.engine.is_ready = False
    try:
        readiness = real.ready()
    finally:
        server.engine.is_ready = True
    assert not readiness.ready
    assert readiness.details["missing"] == ["engine"]
