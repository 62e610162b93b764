"""Who was just refused for want of a place is refused at once for a moment, and nobody else."""

import asyncio
import json

from deploy.shedding import SECONDS, Shedding
from router.api.failures import failure
from router.errors import Overloaded, RateLimited

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Server:
    """Refuses, or answers."""

    def __init__(self, error=None):
        self.error = error
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        if self.error is not None:
            response = failure(self.error).answer(scope["path"])
            response.headers["x-request-id"] = str(self.asked)
            await response(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"code":"overloaded"}'})


class Front:
    def __init__(self, server):
        self.now = 0.0
        self.server = server
        self.front = Shedding(server, clock=lambda: self.now)

    def ask(self, key=None, path=CHAT, header=b"authorization"):
        got = []

        async def send(message):
            got.append(message)

        headers = [] if key is None else [(header, key.encode())]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        asyncio.run(self.front(scope, None, send))
        return got[0]["status"], got


def test_a_refusal_holds_for_a_moment_and_is_told_as_it_was():
    front = Front(Server(Overloaded(3)))
    first, second = front.ask(), front.ask()
    assert (first[0], second[0], front.server.asked) == (429, 429, 1)
    assert json.loads(second[1][1]["body"]) == json.loads(first[1][1]["body"])
    headers = dict(second[1][0]["headers"])
    assert headers[b"retry-after"] == b"3"
    assert b"x-request-id" in dict(first[1][0]["headers"])
    assert b"x-request-id" not in headers
    front.now = SECONDS + 0.01
    front.ask()
    assert front.server.asked == 2


def test_others_are_not_refused_for_it():
    front = Front(Server(Overloaded()))
    for key in ("Bearer a", "Bearer a", "Bearer b", None):
        front.ask(key)
    assert front.server.asked == 3
    for key in ("a", "a", "b"):
        front.ask(key, header=b"x-api-key")
    assert front.server.asked == 5


def test_a_refusal_is_told_in_the_shape_that_is_asked_for():
    front = Front(Server(Overloaded()))
    bodies = [json.loads(front.ask(path=path)[1][1]["body"]) for path in (CHAT, MESSAGES) * 2]
    assert ["type" in body for body in bodies] == [False, True] * 2
    assert front.server.asked == 2


def test_no_key_is_kept_and_long_ones_take_no_more_room():
    front = Front(Server(Overloaded(3)))
    for key in ("Bearer mk_secret", "x" * 60_000):
        front.ask(key)
    assert [len(each) for each in front.front._refused] == [16, 16]
    assert "mk_secret" not in repr(vars(front.front))


def test_what_needs_no_place_is_never_refused_here():
    front = Front(Server(Overloaded()))
    front.ask()
    front.ask(path="/v1/specialists")
    front.ask(path="/v1/route")
    assert front.server.asked == 3


def test_other_refusals_and_answers_that_look_alike_hold_nobody_up():
    for server in Server(RateLimited("tokens", 1, 1.0)), Server():
        front = Front(server)
        front.ask()
        front.ask()
        assert server.asked == 2


def test_a_place_that_was_found_is_found_again():
    front = Front(Server(Overloaded()))
    front.ask()
    front.now = 1.0
    front.server.error = None
    assert [front.ask()[0] for _ in range(3)] == [200] * 3


def test_other_scopes_pass():
    async def app(scope, receive, send):
        assert scope == {"type": "lifespan"}

    asyncio.run(Shedding(app)({"type": "lifespan"}, None, None))
