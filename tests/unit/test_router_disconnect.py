"""Broken lines, on a real server: in-process transports would join the whole body first."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from patience import HANGS
from scripted import Hold, ScriptedEngine
from served import BASE, events, http_client, served, service

from router.engine import Delta, Usage
from router.errors import Unavailable

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[ScriptedEngine, str]]:
    with service(tmp_path) as made, served(made) as url:
        assert isinstance(made.engine, ScriptedEngine)
        yield made.engine, url


HEADERS = "host: localhost\r\ncontent-type: application/json\r\n"


def send(url: str, path: str, **fields) -> socket.socket:
    """Send a request on a line of our own, which we may drop at will."""
    address = httpx.URL(url)
    line = socket.create_connection((address.host, address.port), timeout=HANGS)
    body = json.dumps({"model": BASE, **fields}).encode()
    head = f"POST {path} HTTP/1.1\r\n{HEADERS}content-length: {len(body)}\r\n\r\n"
    line.sendall(head.encode() + body)
    return line


@pytest.mark.parametrize("script", [[Hold()], [Delta(0, "a", 1), Hold()]], ids=["start", "middle"])
@pytest.mark.parametrize(
    ("path", "fields", "count"),
    [
        ("/v1/chat/completions", {"messages": HI}, 1),
        ("/v1/chat/completions", {"messages": HI, "stream": True}, 1),
        ("/v1/completions", {"prompt": ["a", "b"]}, 2),
        ("/v1/completions", {"prompt": ["a", "b"], "stream": True}, 2),
    ],
)
def test_a_client_that_goes_aborts_the_work(running, path, fields, count, script):
    engine, url = running
    engine.script = lambda generation: script
    line = send(url, path, **fields)
    assert engine.began.wait(HANGS)
    line.close()
    assert engine.closed.wait(HANGS)
    assert len(engine.aborted) == count


def test_a_client_that_goes_while_it_reads_aborts_the_work(running):
    engine, url = running
    engine.script = lambda generation: [Delta(0, "a", 1), Hold()]
    body = {"model": BASE, "messages": HI, "stream": True}
    with http_client(url) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            chunks = response.iter_raw()  # kept, since its end would end the response
            assert b'"a"' in next(chunks)
            assert not engine.closed.is_set()
        assert engine.closed.wait(HANGS)
    assert engine.aborted == [g.request_id for g in engine.generations]


def test_chunks_are_sent_as_they_are_made(running):
    engine, url = running
    hold = Hold()
    engine.script = lambda g: [Delta(0, "a", 1), hold, Delta(0, "b", 1, (), "stop"), Usage(1, 2)]
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client,
        client.chat.completions.create(model=BASE, messages=HI, stream=True) as stream,
    ):
        assert next(stream).choices[0].delta.content == "a"
        hold.release()
        assert [chunk.choices[0].delta.content for chunk in stream] == ["b"]
    assert engine.aborted == []


@pytest.mark.parametrize(
    ("script", "message", "level"),
    [
        ([Delta(0, "a", 1), Unavailable(message="the engine died")], "the engine died", "WARNING"),
        ([Delta(0, "a", 1), KeyError("secret")], "Something went wrong", "ERROR"),
        ([Delta(0, "a", 1)], "before the answer was complete", "WARNING"),
    ],
)
def test_an_error_after_the_first_byte_is_an_event_that_clients_raise(
    running, script, message, level, caplog
):
    engine, url = running
    engine.script = lambda generation: script
    body = {"model": BASE, "messages": HI, "stream": True}
    with caplog.at_level(logging.WARNING):
        response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=HANGS)
    chunk, error = events(response.text)
    assert chunk["choices"][0]["delta"]["content"] == "a"
    assert message in error["error"]["message"]
    assert "secret" not in response.text
    assert [record.levelname for record in caplog.records] == [level]
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIError, match=message),
    ):
        list(client.chat.completions.create(model=BASE, messages=HI, stream=True))


@pytest.mark.parametrize("script", [[], [Delta(0, "a", 1)]], ids=["empty", "cut"])
def test_an_engine_that_ends_early_is_an_error_and_no_short_answer(running, script):
    engine, url = running
    engine.script = lambda generation: script
    response = httpx.post(
        f"{url}/v1/chat/completions", json={"model": BASE, "messages": HI}, timeout=HANGS
    )
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "unavailable"


def test_a_client_that_goes_while_it_sends_is_no_error(running, caplog):
    _, url = running
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=HANGS) as line:
        line.sendall(f"POST /v1/route HTTP/1.1\r\n{HEADERS}content-length: 99\r\n\r\n{{".encode())
    assert httpx.get(f"{url}/healthz", timeout=HANGS).status_code == 200
    assert caplog.records == []
