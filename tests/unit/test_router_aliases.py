"""Aliases over HTTP: what is served changes with the answer to the request that changes it."""

import json

import pytest
import tiny_adapter
from served import http_client, served, service

FRENCH = "/v1/specialists/ada/french"
CARD = {"id": "ada/french", "description": "Translates.", "examples": ["translate dog"]}


@pytest.fixture
def client(tmp_path):
    with (
        service(tmp_path) as made,
        served(made) as url,
        http_client(url) as client,
    ):
        for seed in (7, 8):
            register(client, seed)
        yield client


def register(client, seed, **query):
    files = {
        "adapter_config": ("adapter_config.json", tiny_adapter.config()),
        "adapter_model": ("adapter_model.safetensors", tiny_adapter.weights(seed=seed)),
    }
    data = {"card": json.dumps(CARD)}
    return client.post("/v1/specialists", data=data, files=files, params=query)


def put(client, alias, **body):
    return client.put(f"{FRENCH}/aliases/{alias}", json=body)


def error(response, status):
    assert response.status_code == status, response.text
    return response.json()["error"]


def aliases(client):
    listed = client.get(f"{FRENCH}/aliases").json()
    assert listed["object"] == "list"
    return {each["alias"]: each["version"] for each in listed["data"]}


def answers(client):
    """The version that answers a request by name."""
    body = {"model": "ada/french", "messages": [{"role": "user", "content": "hi"}]}
    return client.post("/v1/chat/completions", json=body).json()["routing"]["digest"]


def digest(client, version):
    shown = client.get(FRENCH).json()["versions"]
    return next(each["digest"] for each in shown if each["version"] == version)


def test_a_promotion_and_a_rollback_are_served_at_once(client):
    assert answers(client) == digest(client, 3)
    done = put(client, "prod", version=1, expected=3, reason="calmer").json()
    assert done == {
        "alias": "prod", "object": "alias", "version": 1, "digest": digest(client, 1),
        "protected": False, "gates": [],
    }  # fmt: skip
    assert answers(client) == digest(client, 1)
    back = client.post(f"{FRENCH}/aliases/prod/rollback", json={"reason": "too calm"})
    assert back.json()["version"] == 3
    assert answers(client) == digest(client, 3)
    told = client.get(f"{FRENCH}/aliases/prod/history").json()["data"]
    moves = [(each["version"], each["reason"]) for each in told]
    assert moves == [(3, "too calm"), (1, "calmer"), (3, None), (2, None), (1, None)]


def test_an_alias_is_made_named_in_a_promotion_and_taken_away(client):
    assert put(client, "candidate", version=digest(client, 2), expected=0).json()["version"] == 2
    assert put(client, "prod", version="candidate").json()["version"] == 2
    assert put(client, "prod", version="latest").json()["version"] == 3
    assert aliases(client) == {"candidate": 2, "prod": 3}
    gone = client.delete(f"{FRENCH}/aliases/candidate", params={"expected": 2})
    assert gone.json() == {"alias": "candidate", "object": "alias", "deleted": True}
    assert aliases(client) == {"prod": 3}


def test_a_protected_alias_is_left_where_it_is_by_registering(client):
    assert put(client, "prod", protected=True).json()["protected"]
    made = register(client, 9).json()
    assert (made["version"], made["aliases"]) == (4, [])
    assert "is protected" in made["warnings"][-1]
    assert error(put(client, "prod", version=4), 409)["code"] == "alias_protected"
    assert put(client, "prod", version=4, expected=3, protected=False).status_code == 200
    assert put(client, "prod", version=1).json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 1, "expected": 2}, 409, "alias_moved"),
        ({"version": 9}, 404, "specialist_not_found"),
        ({"version": "nothing"}, 404, "specialist_not_found"),
        ({"version": "no such thing!"}, 400, "invalid_reference"),
        ({"version": 0}, 400, "invalid_value"),
        ({"version": True}, 400, "invalid_type"),
        ({}, 400, "missing_required_parameter"),
        ({"version": 1, "reason": "x" * 501}, 400, "invalid_value"),
        ({"version": 1, "expcted": 3}, 400, "unknown_parameter"),
    ],
)
def test_what_cannot_be_done_is_refused_and_moves_nothing(client, body, status, code):
    assert error(put(client, "prod", **body), status)["code"] == code
    assert aliases(client) == {"prod": 3}


def test_gates_hold_back_what_was_not_scored(client):
    gate = {"metric": "exact_match", "at_least": "base", "tolerance": 0.01}
    assert put(client, "prod", gates=[gate]).json()["gates"] == [gate]
    refusal = error(put(client, "prod", version=1), 409)
    assert refusal["code"] == "gate_closed"
    assert "no held-out score of exact_match" in refusal["message"]
    assert error(put(client, "prod", version=1, override=True), 400)["param"] == "reason"
    done = put(client, "prod", version=1, override=True, reason="the others are down")
    assert done.json()["version"] == 1
    told = client.get(f"{FRENCH}/aliases/prod/history").json()["data"][0]
    assert "no held-out score" in told["overridden"]
    held = register(client, 9).json()
    assert held["aliases"] == []
    assert "no held-out score" in held["warnings"][-1]
    assert error(put(client, "prod", gates=[], version=4), 409)["code"] == "gate_closed"
    assert put(client, "prod", gates=[]).json()["gates"] == []
    for wrong in ([{"metric": "f1", "at_least": "nobody"}], [{}], [gate] * 17, "f1"):
        assert error(put(client, "prod", gates=wrong), 400)


def test_other_refusals(client):
    assert error(put(client, "latest", version=1), 400)["code"] == "invalid_reference"
    roll_back = f"{FRENCH}/aliases/candidate/rollback"
    assert error(client.post(roll_back, json={}), 409)["code"] == "nothing_before"
    assert error(client.delete(f"{FRENCH}/aliases/prod"), 400)["code"] == "alias_in_service"
    assert error(client.delete(f"{FRENCH}/aliases/none"), 404)["code"] == "specialist_not_found"
    assert error(client.get("/v1/specialists/ada/nobody/aliases"), 404)
