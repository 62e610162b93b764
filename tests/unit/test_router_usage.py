"""Usage over HTTP: what OpenAI's own client is told, of the caller's keys and specialists."""

import asyncio
from datetime import UTC, datetime, timedelta

import openai
import pytest
from served import BASE, http_client, served, service

from registry import usage
from registry.scopes import Scope
from registry.usage import KEPT, Account, Amount
from registry.view import Visibility
from router import keyring, spending
from router.wire import usage as wire

USAGE = "/v1/organization/usage/completions"
DAY = timedelta(days=1)
NOW = datetime(2026, 2, 3, 4, 5)
TODAY = int(datetime(2026, 2, 3, tzinfo=UTC).timestamp())


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    for module in (usage, spending, wire):
        monkeypatch.setattr(module, "now", lambda: NOW)
    with service(tmp_path) as made:
        made.registry.show_to("ada/french", Visibility.PUBLIC)
        made.follower.refresh()
        yield made


@pytest.fixture
def url(made):
    with served(made) as url:
        yield url


@pytest.fixture
def client(made, url):
    """Makes OpenAI's client with a key of an owner, or of none with an admin's."""
    connected = []

    def connect(owner=None):
        scopes = [Scope.ADMIN] if owner is None else [Scope.INFER, Scope.READ]
        key = made.registry.keys.create("x", scopes, owner)[1]
        connected.append(openai.OpenAI(base_url=f"{url}/v1", api_key=key, admin_api_key=key))
        return connected[-1]

    yield connect
    for each in connected:
        each.close()


def ask(client, model, text="one two three"):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages)


def today(client, made, **wanted):
    """The results of today, as the client has them."""
    asyncio.run(made.news.tell())
    [bucket] = client.admin.organization.usage.completions(start_time=TODAY, **wanted).data
    assert (bucket.start_time, bucket.end_time - bucket.start_time) == (TODAY, 86400)
    return bucket.results


def test_openais_client_is_told_what_its_key_used_by_model(client, made):
    ada, bob = client("ada"), client("bob")
    for model in ("ada/french", "ada/french", BASE):
        ask(ada, model)
    ask(bob, "ada/french")
    [whole] = today(ada, made)
    assert (whole.num_model_requests, whole.input_tokens, whole.output_tokens) == (3, 9, 9)
    assert (whole.model, whole.api_key_id, whole.project_id) == (None, None, None)
    each = {result.model: result for result in today(ada, made, group_by=["model"])}
    assert {model: result.num_model_requests for model, result in each.items()} == {
        "ada/french": 2,
        BASE: 1,
    }
    [french] = today(ada, made, models=["ada/french"])
    assert french.input_tokens == 6


def test_an_admin_is_told_of_all_keys_and_owners(client, made):
    for owner in ("ada", "bob"):
        ask(client(owner), "ada/french")
    admin = client()
    ids = {key.owner: key.id for key in made.registry.keys.list()}
    told = today(admin, made, group_by=["api_key_id", "project_id"])
    assert {(each.project_id, each.api_key_id) for each in told} == {
        (owner, ids[owner]) for owner in ("ada", "bob")
    }
    [bobs] = today(admin, made, api_key_ids=[ids["bob"]], group_by=["project_id"])
    assert (bobs.project_id, bobs.num_model_requests) == ("bob", 1)
    assert today(client("ada"), made, api_key_ids=[ids["bob"]]) == []


def test_steps_of_one_request_count_as_what_each_asked(client, made):
    steps = [{"model": "ada/french", "prompt": "{request}"}, {"model": BASE}]
    ada = client("ada")
    ada.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "hello"}],
        extra_body={"routing": {"steps": steps}},
    )
    told = today(ada, made, group_by=["model"])
    assert {each.model: each.num_model_requests for each in told} == {"ada/french": 1, BASE: 1}


def test_a_specialists_owner_is_told_what_it_answered_and_no_more(client, made):
    for owner in ("bob", "carol"):
        ask(client(owner), "ada/french")
    asyncio.run(made.news.tell())

    def asked(owner, specialist):
        path = f"/specialists/{specialist}/usage?start_time={TODAY}"
        return client(owner).get(path, cast_to=object)

    [result] = asked("ada", "ada/french")["data"][0]["results"]
    assert (result["model"], result["num_model_requests"]) == ("ada/french", 2)
    assert (result["api_key_id"], result["project_id"]) == (None, None)
    with pytest.raises(openai.PermissionDeniedError):
        asked("bob", "ada/french")
    with pytest.raises(openai.NotFoundError):
        asked("ada", "ada/nothing")


def test_what_is_not_told_apart_says_so(client, made, monkeypatch):
    monkeypatch.setattr(usage, "MOST", 1)
    ada = client("ada")
    for text in ("one two three", "one"):
        ask(ada, "ada/french" if text == "one" else BASE, text)
    most, rest = today(ada, made, group_by=["model"])
    assert (most.model, most.input_tokens, most.model_extra) == (BASE, 3, {})
    assert (rest.model, rest.input_tokens, rest.model_extra) == (None, 1, {"rest": True})


def test_pages_follow_one_another_to_today(made, url):
    days = [NOW.date() - number * DAY for number in range(5)]
    made.registry.ledger.note({Account(day, BASE): Amount(1) for day in days})
    wanted = {"start_time": TODAY - 4 * 86400, "limit": 2}
    found, page = [], {}
    with http_client(url) as http:
        while page is not None:
            answer = http.get(USAGE, params=wanted | page).json()
            found += answer["data"]
            page = {"page": answer["next_page"]} if answer["has_more"] else None
            assert (answer["next_page"] is None) == (page is None)
    assert [each["start_time"] for each in found] == [TODAY - n * 86400 for n in (4, 3, 2, 1, 0)]
    assert all(each["results"][0]["num_model_requests"] == 1 for each in found)


@pytest.mark.parametrize(
    ("span", "days"),
    [
        ({"start_time": TODAY}, 1),
        ({"start_time": TODAY - 1}, 2),
        ({"start_time": TODAY - 1, "end_time": TODAY}, 1),
        ({"start_time": TODAY - 1, "end_time": TODAY + 1}, 2),
        ({"start_time": TODAY, "end_time": 253_402_300_799}, 1),
        ({"start_time": 253_402_300_799}, 0),
        ({"start_time": TODAY, "end_time": 0}, 0),
        ({"start_time": 0, "page": "9999-12-31"}, 0),
        ({"start_time": 0, "end_time": 1}, 0),
        ({"start_time": 0}, 7),
    ],
)
def test_parts_of_days_are_days_and_nothing_is_told_of_what_is_not_kept(url, span, days):
    with http_client(url) as http:
        found = http.get(USAGE, params=span).json()["data"]
    assert len(found) == days
    assert all(each["start_time"] >= TODAY - KEPT.total_seconds() for each in found)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "start_time"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": -1}, "start_time"),
        ({"start_time": 10**30}, "start_time"),
        ({"start_time": 0, "end_time": 10**30}, "end_time"),
        ({"start_time": 0, "bucket_width": "1h"}, "bucket_width"),
        ({"start_time": 0, "limit": 32}, "limit"),
        ({"start_time": 0, "page": "page_2"}, "page"),
        ({"start_time": 0, "group_by[]": ["model", "batch"]}, "group_by"),
        ({"start_time": 0, "group_by": "user_id"}, "group_by"),
        ({"start_time": 0, "user_ids[]": "me"}, "user_ids"),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(url, query, param):
    with http_client(url) as http:
        answer = http.get(USAGE, params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_what_it_may_be_told_apart_by_is_documented(url):
    with http_client(url) as http:
        shown = http.get("/openapi.json").json()["paths"][USAGE]["get"]["parameters"]
    lists = {each["name"] for each in shown if each["schema"].get("type") == "array"}
    assert lists == {"group_by", "models", "api_key_ids", "project_ids"}
    assert {"start_time", "end_time", "limit", "page"} < {each["name"] for each in shown}
