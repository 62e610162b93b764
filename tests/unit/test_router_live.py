"""Decisions while somebody types."""

import asyncio
import json
import threading

import httpx
import pytest
from patience import HANGS
from served import FRENCH, WEATHER, served, service
from web import HANDSHAKE
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from registry.quota import Quota
from registry.scopes import Scope
from router import keyring
from router.api.live import MOST_CHARACTERS, Newest
from router.service import TYPING


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def url(made):
    with served(made) as url:
        yield url


def live(url, **options):
    address = f"{url.replace('http', 'ws')}/v1/route/live"
    return connect(address, proxy=None, open_timeout=HANGS, close_timeout=HANGS, **options)


def ask(socket, text, **fields):
    socket.send(json.dumps({"input": text, **fields}))
    return json.loads(socket.recv(timeout=HANGS))


def test_every_text_gets_the_decision_that_a_request_gets(url):
    with live(url) as socket:
        for number, text in enumerate(["transl", FRENCH[0], WEATHER[0], ""], 1):
            decision = ask(socket, text)
            asked = httpx.post(
                f"{url}/v1/route", json={"input": text}, trust_env=False, timeout=HANGS
            ).json()
            assert decision.pop("number") == number
            for each in (decision, asked):
                each.pop("milliseconds")
            assert decision == asked


def test_a_whole_conversation_and_options_are_taken_too(url):
    with live(url) as socket:
        socket.send(
            json.dumps(
                {
                    "messages": [{"role": "user", "content": FRENCH[0]}],
                    "routing": {"blocked": "ada", "threshold": 0},
                    "explain": True,
                }
            )
        )
        decision = json.loads(socket.recv(timeout=HANGS))
    assert decision["specialist"] == "bob/weather"
    assert decision["examples"]


def test_only_the_newest_text_is_decided_on(made, url, monkeypatch):
    begun, released, asked, route = threading.Event(), threading.Event(), [], made.resolver.route

    async def slow(turns, *rest):
        asked.append(turns[-1])
        if len(asked) == 1:
            begun.set()
            await asyncio.to_thread(released.wait, HANGS)
        return await route(turns, *rest)

    monkeypatch.setattr(made.resolver, "route", slow)
    with live(url) as socket:
        for text in ("w", "we", "wea", WEATHER[0]):
            socket.send(json.dumps({"input": text}))
            assert begun.wait(HANGS)
        # Once this is answered to, all before it has come.
        socket.ping().wait(HANGS)
        released.set()
        numbers = [json.loads(socket.recv(timeout=HANGS))["number"] for _ in range(2)]
    assert (asked, numbers) == (["w", WEATHER[0]], [1, 4])


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("no json", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("{}", "invalid_value"),
        ('{"input": 1}', "invalid_type"),
        ('{"input": "a", "routing": {"threshold": 3}}', "invalid_value"),
        ('{"input": "a", "routing": {"compose": true}}', "invalid_value"),
        ("x" * (MOST_CHARACTERS + 1), "body_too_large"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_makes_no_sense_is_refused_and_the_next_is_answered(url, sent, code):
    with live(url) as socket:
        socket.send(sent)
        refusal = json.loads(socket.recv(timeout=HANGS))
        assert refusal["error"]["code"] == code
        assert refusal["number"] == 1
        assert ask(socket, WEATHER[0])["specialist"] == "bob/weather"


def test_what_nobody_foresaw_tells_nothing_and_ends_nothing(made, url, monkeypatch, caplog):
    route, asked = made.resolver.route, []

    async def failing(*arguments):
        asked.append(arguments)
        if len(asked) == 1:
            raise ValueError("the inside")
        return await route(*arguments)

    monkeypatch.setattr(made.resolver, "route", failing)
    with live(url) as socket:
        refusal = ask(socket, "a")
        assert refusal["error"]["code"] == "internal_error"
        assert "inside" not in json.dumps(refusal)
        assert ask(socket, WEATHER[0])["specialist"] == "bob/weather"
    assert "the inside" in caplog.text


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"host": "evil.example"}])
def test_a_page_from_elsewhere_is_not_connected(url, headers):
    asked = HANDSHAKE | headers
    answer = httpx.get(f"{url}/v1/route/live", headers=asked, trust_env=False, timeout=HANGS)
    assert answer.status_code == 403


def test_a_page_of_this_server_is_connected(url):
    with live(url, origin=url) as socket:
        assert ask(socket, WEATHER[0])["specialist"] == "bob/weather"


@pytest.fixture
def key(made):
    return lambda *scopes, **more: made.registry.keys.create("x", scopes, "bob", **more)


def test_where_keys_are_needed_one_is(url, key):
    _, good = key(Scope.INFER)
    _, other = key(Scope.READ)
    for wrong in ({}, {"authorization": "Bearer mk_none"}, {"authorization": f"Bearer {other}"}):
        with live(url, additional_headers=wrong) as socket:
            assert ask(socket, "a")["error"]["code"] in ("invalid_api_key", "scope_missing")
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=HANGS)
    with live(url, additional_headers={"authorization": f"Bearer {good}"}) as socket:
        decision = ask(socket, WEATHER[0])
        assert (decision["specialist"], decision["generation"]) == ("bob/weather", None)
        # What is another owner's is private.
        assert [each["specialist"] for each in decision["candidates"]] == ["bob/weather"]


def test_a_browser_sends_its_key_as_a_protocol(url, key):
    _, good = key(Scope.INFER)
    with live(url, subprotocols=["myriad", f"myriad-key.{good}"]) as socket:
        assert socket.subprotocol == "myriad"
        assert ask(socket, WEATHER[0])["specialist"] == "bob/weather"


def test_a_key_that_is_revoked_ends_the_connection(made, url, key):
    found, good = key(Scope.INFER)
    key(Scope.INFER)
    with live(url, additional_headers={"authorization": f"Bearer {good}"}) as socket:
        assert "error" not in ask(socket, "a")
        made.registry.keys.revoke(found.id)
        assert ask(socket, "b")["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=HANGS)


def test_every_decision_counts_against_the_quota(url, key):
    _, good = key(Scope.INFER, quota=Quota(requests_per_minute=2))
    with live(url, additional_headers={"authorization": f"Bearer {good}"}) as socket:
        answers = [ask(socket, "a") for _ in range(3)]
    assert ["error" in answer for answer in answers] == [False, False, True]
    assert answers[2]["error"]["code"] == "rate_limit_exceeded"


def test_who_will_likely_be_asked_is_loaded_beforehand_once(made, url):
    with live(url) as socket:
        for _ in range(3):
            digest = ask(socket, WEATHER[0])["digest"]
        other = ask(socket, FRENCH[0])["digest"]
    assert made.engine.prefetched == [(digest, True), (other, True)]


def test_only_so_many_may_be_connected_at_once(made, url):
    made.typing._room = 1
    with live(url) as first:
        assert "error" not in ask(first, "a")
        with live(url) as second:
            assert json.loads(second.recv(timeout=HANGS))["error"]["code"] == "overloaded"
            with pytest.raises(ConnectionClosed):
                second.recv(timeout=HANGS)
        assert "error" not in ask(first, "b")
    freed = threading.Event()
    while made.typing._room == 0:
        freed.wait(0.01)
    with live(url) as third:
        assert "error" not in ask(third, "c")


def test_whoever_leaves_without_waiting_is_no_error(made, url, caplog):
    for _ in range(20):
        with live(url) as socket:
            for _ in range(3):
                socket.send(json.dumps({"input": WEATHER[0]}))
    left = threading.Event()
    while made.typing._room < TYPING:
        left.wait(0.01)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_connection_on_which_nothing_is_said_is_closed(url, monkeypatch):
    monkeypatch.setattr("router.api.live.IDLE_SECONDS", 0.05)
    with live(url) as socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=HANGS)


def test_a_newer_message_takes_the_place_of_one_that_was_not_taken():
    async def work():
        newest = Newest()
        newest.put("a")
        assert await newest.take() == (1, "a")
        newest.put("b")
        newest.put("c")
        assert await newest.take() == (3, "c")
        waiting = asyncio.create_task(newest.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        newest.put("d")
        return await waiting

    assert asyncio.run(work()) == (4, "d")
