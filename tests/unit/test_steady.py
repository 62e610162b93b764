"""What a client notices of a router that was lost: nothing, or an error that says so."""

import asyncio
import json

import pytest
from fastapi.routing import APIRoute

from deploy.endpoints import ANSWERING, READING
from deploy.steady import KEPT_BYTES, LOST, TRIES, Steady
from router.api.app import ROUTES

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
WHOLE = {"type": "http.response.body", "body": b"{}"}


class Client:
    def __init__(self, *parts, leaves=False):
        self.messages = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
            for at, part in enumerate(parts)
        ]
        if leaves:
            self.messages.append({"type": "http.disconnect"})
        self.got = []

    async def receive(self):
        return self.messages.pop(0) if self.messages else await asyncio.Event().wait()

    async def send(self, message):
        self.got.append(message)

    @property
    def body(self):
        return b"".join(each.get("body", b"") for each in self.got[1:])


class Router:
    """Plays one script per time it is asked: what it sends before it is lost, or has done."""

    def __init__(self, *scripts, reads=True):
        self.scripts = list(scripts)
        self.reads = reads
        self.bodies = []

    async def __call__(self, scope, receive, send):
        body, more = b"", self.reads
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        for message in self.scripts.pop(0) if self.scripts else ():
            await send(message)


def start(status=200, headers=JSON):
    return {"type": "http.response.start", "status": status, "headers": headers}


def ask(router, client, path=CHAT, method="POST"):
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    asyncio.run(Steady(router)(scope, client.receive, client.send))
    return client.got


def test_an_answer_passes_as_it_is():
    router, client = Router([start(), WHOLE]), Client(b"a", b"b")
    assert ask(router, client) == [start(), WHOLE]
    assert router.bodies == [b"ab"]


@pytest.mark.parametrize(
    ("path", "method"), [(CHAT, "POST"), (MESSAGES, "POST"), ("/v1/specialists", "GET")]
)
def test_what_was_not_begun_to_be_answered_is_asked_again(path, method):
    router, client = Router([], [], [start(), WHOLE]), Client(b"a", b"b")
    assert ask(router, client, path, method) == [start(), WHOLE]
    assert router.bodies == [b"ab"] * 3


def test_what_is_lost_each_time_ends_with_an_error_that_says_what_to_do():
    router, client = Router(), Client(b"a")
    got = ask(router, client)
    assert (got[0]["status"], len(router.bodies)) == (503, TRIES)
    assert json.loads(client.body)["error"]["message"] == LOST
    assert (b"retry-after", b"1") in got[0]["headers"]


@pytest.mark.parametrize("path", ["/v1/specialists", "/v1/feedback"])
def test_what_changes_something_is_asked_once(path):
    router, client = Router(), Client(b"a")
    assert ask(router, client, path)[0]["status"] == 503
    assert len(router.bodies) == 1


def test_a_body_too_large_to_keep_is_sent_once():
    router, client = Router([], [start(), WHOLE]), Client(b"x" * KEPT_BYTES, b"y")
    assert ask(router, client)[0]["status"] == 503
    assert len(router.bodies) == 1


@pytest.mark.parametrize(("path", "kind"), [(CHAT, "server_error"), (MESSAGES, "overloaded_error")])
def test_a_stream_that_breaks_off_ends_with_an_error_event(path, kind):
    part = {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
    router, client = Router([start(headers=EVENTS), part], [start(), WHOLE]), Client(b"a")
    got = ask(router, client, path)
    assert len(router.bodies) == 1
    assert not got[-1].get("more_body")
    name, data = got[-1]["body"].decode().strip().split("\n")
    told = json.loads(data.removeprefix("data: "))
    assert (name, told["type"], told["error"]["message"]) == ("event: error", "error", LOST)
    assert told["error"]["type"] == kind


def test_an_answer_that_breaks_off_and_is_no_stream_is_left_broken():
    part = {"type": "http.response.body", "body": b"{", "more_body": True}
    router, client = Router([start(), part]), Client(b"a")
    assert ask(router, client) == [start(), part]


def test_nobody_asks_again_for_a_client_that_has_left():
    class Waiting(Router):
        async def __call__(self, scope, receive, send):
            self.bodies.append((await receive())["body"])
            assert (await receive())["type"] == "http.disconnect"

    router, client = Waiting(), Client(b"a", leaves=True)
    assert ask(router, client) == []
    assert len(router.bodies) == 1


def test_other_scopes_pass():
    async def app(scope, receive, send):
        assert scope == {"type": "websocket"}

    asyncio.run(Steady(app)({"type": "websocket"}, None, None))


def test_every_endpoint_that_generates_is_known_to_the_front():
    posts = {
        route.path
        for routes in ROUTES
        for route in routes.routes
        if isinstance(route, APIRoute) and "POST" in route.methods and "generation" in route.tags
    }
    changing = {"/v1/batches", "/v1/feedback"}
    assert {path for path in posts if "{" not in path} - changing == ANSWERING
    assert not ANSWERING & READING
