"""A version on trial gets its share of the requests, and whoever got it keeps it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from scripted import echo
from served import BASE, http_client, register, served, service

from registry.errors import InvalidInput, StorageError, UnknownSpecialist
from registry.trials import Trials
from router.errors import ContextOverflow, Overloaded
from router.staging import place

FRENCH = "/v1/specialists/ada/french"
ASKED = [{"role": "user", "content": "translate dog into french"}]


@pytest.fixture
def running(tmp_path):
    with (
        service(tmp_path) as made,
        served(made) as url,
        http_client(url) as client,
    ):
        card = made.registry.get("ada/french").card
        fields = {"examples": card.examples, "tags": card.tags, "description": "Newer."}
        register(made.registry, "ada/french", seed=7, **fields)
        made.registry.aliases.roll_back("ada/french")
        made.follower.refresh()
        yield made, client


@pytest.fixture
def client(running):
    return running[1]


def put(client, **body):
    return client.put(f"{FRENCH}/canary", json=body)


def answered(client, model="ada/french", messages=ASKED, **body):
    """The number of the version that answers, and why it does."""
    body = {"model": model, "messages": messages, **body}
    routing = client.post("/v1/chat/completions", json=body).json()["routing"]
    return routing["version"], routing["reason"]


def test_a_share_of_users_gets_it_and_keeps_it(client):
    assert put(client, version=2, share=0.3).json()["share"] == 0.3
    users = [f"user-{number}" for number in range(200)]
    first = [answered(client, user=user)[0] for user in users]
    assert 0.2 < first.count(2) / len(first) < 0.4
    again = [answered(client, "auto", user=user)[0] for user in users[:40]]
    assert again == first[:40]
    named = [answered(client, "ada/french:prod", user=user)[0] for user in users[:40]]
    assert named == first[:40]


def test_a_conversation_stays_with_its_version(client):
    put(client, version=2, share=0.5)
    for number in range(20):
        begun = [{"role": "user", "content": f"translate dog into french, {number}"}]
        more = [{"role": "assistant", "content": "chien"}, {"role": "user", "content": "?"}]
        longer = begun + more
        assert answered(client, messages=begun)[0] == answered(client, messages=longer)[0]


def test_all_of_it_may_be_had_and_is_said(client):
    put(client, version="latest", share=1.0)
    version, reason = answered(client)
    assert (version, "Version 2 is tried on 100% of requests." in reason) == (2, True)
    assert answered(client, "ada/french@1")[0] == 1
    assert answered(client, "bob/weather")[0] == 1
    body = {"model": "ada/french", "prompt": "dog"}
    assert client.post("/v1/completions", json=body).json()["routing"]["version"] == 2
    body = {"model": "ada/french", "input": "dog", "user": "u"}
    assert client.post("/v1/responses", json=body).json()["routing"]["version"] == 2
    openai = OpenAI(base_url=f"{client.base_url}/v1", api_key="x", max_retries=0)
    made = openai.chat.completions.create(model="auto", messages=ASKED, user="u")
    assert made.routing["version"] == 2


@pytest.mark.parametrize("end", ["share", "promote", "rollback", "retire"])
def test_a_trial_ends(running, client, end):
    made, _ = running
    put(client, version=2, share=1.0)
    if end == "share":
        assert put(client, version=2, share=0).json() == {"object": "canary", "share": 0.0}
    elif end == "promote":
        client.put(f"{FRENCH}/aliases/prod", json={"version": 2})
        client.post(f"{FRENCH}/aliases/prod/rollback", json={})
    elif end == "rollback":
        client.put(f"{FRENCH}/aliases/prod", json={"version": 2})
        put(client, version=1, share=1.0)
        client.post(f"{FRENCH}/aliases/prod/rollback", json={})
    else:
        client.delete(FRENCH)
        register(made.registry, "ada/french", seed=9)
        made.follower.refresh()
        assert answered(client)[0] == 3
        return
    assert answered(client)[0] == 1
    assert client.get(f"{FRENCH}/canary").json()["share"] == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 1, "share": 0.1}, 400, "in_service"),
        ({"version": 9, "share": 0.1}, 404, "specialist_not_found"),
        ({"version": 2, "share": 1.1}, 400, "invalid_value"),
        ({"version": 2, "share": "half"}, 400, "invalid_type"),
        ({"version": 2}, 400, "missing_required_parameter"),
    ],
)
def test_what_cannot_be_tried(client, body, status, code):
    response = put(client, **body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert client.get(f"{FRENCH}/canary").json() == {"object": "canary", "share": 0.0}


def test_in_the_registry(running):
    aliases = running[0].registry.aliases
    with pytest.raises(InvalidInput):
        aliases.try_out("ada/french@2", -0.1)
    with pytest.raises(UnknownSpecialist):
        aliases.canary("ada/nobody")
    assert aliases.try_out("ada/french@2", 0.5) == aliases.canary("ada/french")


@given(st.text(), st.text())
def test_any_text_has_its_place(key, digest):
    assert 0 <= place(key, digest) < 1


def test_places_are_even_and_differ_between_trials():
    places = [place(f"user-{number}", "sha256:a") for number in range(4000)]
    for share in (0.1, 0.5):
        assert abs(sum(each < share for each in places) / 4000 - share) < 0.03
    others = [place(f"user-{number}", "sha256:b") < 0.5 for number in range(4000)]
    same = sum((one < 0.5) == other for one, other in zip(places, others, strict=True))
    assert 0.45 < same / 4000 < 0.55


def test_another_alias_is_tried_by_itself(client):
    client.put(f"{FRENCH}/aliases/candidate", json={"version": 1})
    put(client, version=2, share=0.5, alias="candidate")
    users = [f"user-{number}" for number in range(60)]
    found = [answered(client, "ada/french:candidate", user=user)[0] for user in users]
    assert 15 < found.count(2) < 45
    assert {answered(client, user=user)[0] for user in users[:20]} == {1}
    assert client.get(f"{FRENCH}/canary").json()["share"] == 0
    shown = client.get(f"{FRENCH}/canary?alias=candidate").json()
    assert (shown["share"], shown["version"]) == (0.5, 2)
    assert put(client, version=2, share=0.5, alias="nothing").status_code == 404


def test_a_version_whose_answers_fail_is_taken_back(running, client):
    made, _ = running
    put(client, version=2, share=0.5, margin=0.3, least=5)
    tried = made.registry.versions("ada/french")[1].digest

    def script(generation):
        return [RuntimeError("broken")] if generation.adapter == tried else echo(generation)

    made.engine.script = script
    statuses = [
        client.post(
            "/v1/chat/completions",
            json={"model": "ada/french", "messages": ASKED, "user": f"u{number}"},
        ).status_code
        for number in range(40)
    ]
    assert 5 <= statuses.count(500) < 35
    asyncio.run(made.news.tell())
    made.follower.refresh()
    shown = client.get(f"{FRENCH}/canary").json()
    assert "Version 2 was taken back" in shown["verdict"]
    assert (shown["share"], shown["trial"]) == (0, [])
    assert {answered(client, user=f"u{number}")[0] for number in range(40)} == {1}


def test_what_clients_do_wrong_counts_for_nothing(running, client):
    made, _ = running
    put(client, version=2, share=1.0, least=1, margin=0)
    for error in (ContextOverflow(9, 5), Overloaded()):
        made.engine.script = lambda _, error=error: [error]
        assert client.post(
            "/v1/chat/completions", json={"model": "ada/french", "messages": ASKED}
        ).is_client_error
    made.engine.script = echo
    assert answered(client)[0] == 2
    asyncio.run(made.news.tell())
    [_, tried] = client.get(f"{FRENCH}/canary").json()["trial"]
    assert tried == {"version": 2, "answered": 1, "failed": 0, "rated": 0, "bad": 0}


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
def test_answers_are_rated_by_their_ids(client, path):
    put(client, version=2, share=1.0, least=2)
    body = {"model": "ada/french", "messages": ASKED, "prompt": "dog", "input": "dog"}
    names = {"chat/completions": "messages", "completions": "prompt", "responses": "input"}
    body = {"model": "ada/french", names[path]: body[names[path]]}
    ids = [client.post(f"/v1/{path}", json=body).json()["id"] for _ in range(2)]
    for answer in ids:
        said = {"id": answer, "rating": "bad", "correction": "chien"}
        rated = client.post("/v1/feedback", json=said)
        assert rated.json() == {
            "id": answer, "object": "feedback", "rating": "bad",
            "specialist": "ada/french", "version": 2,
        }  # fmt: skip
    assert "called bad" in client.get(f"{FRENCH}/canary").json()["verdict"]
    assert answered(client)[0] == 1


def test_what_is_no_answer_is_not_rated(client):
    base = client.post("/v1/completions", json={"model": BASE, "prompt": "dog"}).json()["id"]
    for answer in (f"{base[:-1]}{(int(base[-1], 16) + 1) % 16:x}", "chatcmpl-1", ""):
        refused = client.post("/v1/feedback", json={"id": answer, "rating": "good"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "answer_not_found")
    for wrong in ({"rating": "fine"}, {"id": base}, {"id": base, "rating": "bad", "stars": 5}):
        assert client.post("/v1/feedback", json=wrong).status_code == 400


def test_news_that_cannot_be_told_are_lost_and_nothing_else(running, client, monkeypatch, caplog):
    made, _ = running
    put(client, version=2, share=1.0)
    assert answered(client)[0] == 2

    def fail(*_: object) -> None:
        raise StorageError("away")

    monkeypatch.setattr(Trials, "note", fail)
    asyncio.run(made.news.tell())
    assert "lost" in caplog.text
    assert answered(client)[0] == 2
