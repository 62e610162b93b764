import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_adapter
import yaml
from fastapi import Request
from served import BASE, http_client, served, service

from registry.errors import StorageError
from registry.limits import Limits
from registry.registry import Registry
from router.api.json_body import read_json
from router.errors import BodyTooLarge
from router.service import Service

CARD = {"id": "eve/poet", "description": "Writes rhymes.", "examples": ["write a rhyme on rain"]}
CONFIG = ("adapter_config.json", tiny_adapter.config())
WEIGHTS = ("adapter_model.safetensors", tiny_adapter.weights(seed=9))
FILES = {"adapter_config": CONFIG, "adapter_model": WEIGHTS}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Service, httpx.Client]]:
    limits = Limits(max_bytes=1 << 20)
    with (
        service(tmp_path, limits=limits) as made,
        served(made) as url,
        http_client(url) as client,
    ):
        yield made, client


@pytest.fixture
def client(running) -> httpx.Client:
    return running[1]


def register(client: httpx.Client, files=FILES, **data) -> httpx.Response:
    return client.post("/v1/specialists", data=data or {"card": json.dumps(CARD)}, files=files)


def route(client: httpx.Client, text: str) -> str | None:
    return client.post("/v1/route", json={"input": text}).json()["specialist"]


def test_a_registered_specialist_is_routable_when_it_is_acknowledged(client):
    assert route(client, "write a rhyme on rain") is None
    response = register(client)
    assert response.status_code == 201
    body = response.json()
    assert (body["id"], body["object"], body["version"], body["kind"]) == (
        "eve/poet", "specialist", 1, "lora",
    )  # fmt: skip
    assert body["digest"].startswith("sha256:")
    assert body["examples"] == CARD["examples"]
    assert isinstance(body["created"], int)
    assert route(client, "write a rhyme on rain") == "eve/poet"


def test_the_same_again_is_200_and_the_same_version(client):
    first, again = register(client), register(client)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({"card": yaml.safe_dump(CARD)}, [("files", CONFIG), ("files", WEIGHTS)]),
        ({}, [("card", ("x", json.dumps(CARD))), ("files", CONFIG), ("files", WEIGHTS)]),
        ({}, [("f", ("card.yaml", yaml.safe_dump(CARD))), ("a", CONFIG), ("b", WEIGHTS)]),
        (
            {"card": json.dumps(CARD)},
            [("adapter_config.json", ("a", CONFIG[1])), ("adapter_model", ("b", WEIGHTS[1]))],
        ),
        (
            {"card": json.dumps(CARD), "adapter_config.json": CONFIG[1].decode()},
            [("files", WEIGHTS)],
        ),
    ],
)
def test_parts_are_known_by_field_or_by_file_name(client, data, files):
    assert client.post("/v1/specialists", data=data, files=files).status_code == 201


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({}, [("files", CONFIG), ("files", WEIGHTS)], "card"),
        ({"card": json.dumps(CARD)}, [("files", CONFIG)], "adapter_model.safetensors"),
        ({"card": json.dumps(CARD)}, [("files", WEIGHTS)], "adapter_config.json"),
        ({"card": "{}"}, [("a", CONFIG), ("b", WEIGHTS), ("c", CONFIG)], "adapter_config.json"),
        ({"card": "{}"}, [("files", ("adapter_model.bin", b"x"))], "adapter_model.bin"),
        ({"card": "{}"}, [("files", ("tokenizer.json", b"x"))], "tokenizer.json"),
        ({"card": "{}", "note": "x"}, [("files", CONFIG)], "note"),
        ({"card": "{}"}, [("a", CONFIG), ("b", WEIGHTS)], "card.id"),
        ({"card": json.dumps(CARD)}, [("a", CONFIG), ("b", (WEIGHTS[0], b"x"))], WEIGHTS[0]),
        ({"card": "\0"}, [("a", CONFIG), ("b", WEIGHTS)], "card"),
    ],
)
def test_what_is_wrong_is_named_and_leaves_no_trace(running, data, files, param):
    made, client = running
    before = made.registry.generation()
    response = client.post("/v1/specialists", data=data, files=files)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert made.registry.generation() == before


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b; charset=utf-16",
            b'--b\r\ncontent-disposition: form-data; name="card"\r\n\r\n\xff\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--b--\r\n',
        ),
    ],
)
def test_what_is_no_multipart_is_refused(client, kind, content):
    response = client.post("/v1/specialists", content=content, headers={"content-type": kind})
    assert response.status_code == 400, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_too_large_an_upload_is_refused(client):
    files = {**FILES, "adapter_model": (WEIGHTS[0], b"x" * (10 << 20))}
    assert register(client, files).status_code == 413


def test_a_body_is_read_no_further_than_its_limit():
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    request = Request(
        {"type": "http", "headers": [(b"content-type", b"application/json")]}, receive
    )
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_json(request, 35))
    assert sent == 4


def test_list_search_and_page(client):
    register(client)
    everything = client.get("/v1/specialists").json()
    assert [s["id"] for s in everything["data"]] == ["eve/poet", "bob/weather", "ada/french"]
    assert (everything["object"], everything["has_more"]) == ("list", False)
    assert "examples" not in everything["data"][0]
    for name in ("q", "search"):
        found = client.get("/v1/specialists", params={name: "rhymes"}).json()
        assert [s["id"] for s in found["data"]] == ["eve/poet"]
    tagged = client.get("/v1/specialists", params={"tag": "language"}).json()
    assert [s["id"] for s in tagged["data"]] == ["ada/french"]
    for name in ("cursor", "after"):
        page = client.get("/v1/specialists", params={"limit": 2}).json()
        assert page["has_more"]
        rest = client.get("/v1/specialists", params={name: page["next_cursor"]}).json()
        assert [s["id"] for s in rest["data"]] == ["ada/french"]


@pytest.mark.parametrize(
    ("params", "param"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"limit": "x"}, "limit"),
     ({"cursor": "!"}, "cursor"), ({"q": "x" * 500}, "search")],
)  # fmt: skip
def test_wrong_queries_are_named(client, params, param):
    response = client.get("/v1/specialists", params=params)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_show_has_versions_and_aliases(client):
    register(client)
    register(client, {**FILES, "adapter_model": (WEIGHTS[0], tiny_adapter.weights(seed=10))})
    shown = client.get("/v1/specialists/eve/poet").json()
    assert [v["version"] for v in shown["versions"]] == [1, 2]
    assert shown["aliases"] == {"prod": 2}
    assert (shown["version"], shown["digest"]) == (2, shown["versions"][1]["digest"])
    assert shown["examples"] == CARD["examples"]


def test_private_examples_route_and_are_shown_to_nobody(client):
    card = CARD | {"examples": ["write a rhyme"], "private_examples": ["my secret sonnet"]}
    answers = [
        register(client, card=json.dumps(card)),
        client.get("/v1/specialists/eve/poet"),
        client.get("/v1/specialists"),
        client.get("/v1/models/eve/poet"),
        client.post("/v1/route", json={"input": "my secret sonnet"}),
    ]
    assert all(answer.is_success for answer in answers)
    assert not any("secret" in answer.text for answer in answers)
    assert answers[1].json()["examples"] == ["write a rhyme"]
    assert answers[-1].json()["specialist"] == "eve/poet"


def test_a_retired_specialist_is_gone_everywhere(client):
    text = "translate dog into french"
    assert route(client, text) == "ada/french"
    deleted = client.delete("/v1/specialists/ada/french")
    assert deleted.json() == {"id": "ada/french", "object": "specialist", "deleted": True}
    assert route(client, text) is None
    for response in (
        client.get("/v1/specialists/ada/french"),
        client.delete("/v1/specialists/ada/french"),
        client.get("/v1/models/ada/french"),
    ):
        assert response.status_code == 404
    restored = client.post("/v1/specialists/ada/french/restore")
    assert restored.json() == client.get("/v1/specialists/ada/french").json()
    assert route(client, text) == "ada/french"
    assert client.post("/v1/specialists/ada/nobody/restore").status_code == 404


def test_who_finds_it_is_said_when_it_is_registered_and_later(client):
    assert register(client).json()["visibility"] == "private"
    data = {"card": json.dumps(CARD | {"id": "eve/new"})}
    url = "/v1/specialists?visibility="
    made = client.post(url + "unlisted", data=data, files=FILES)
    assert made.json()["visibility"] == "unlisted"
    refused = client.post(url + "public", data=data, files=FILES)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "other_visibility")
    assert client.post(url + "secret", data=data, files=FILES).status_code == 400
    there = "/v1/specialists/eve/new/visibility"
    assert client.put(there, json={"visibility": "secret"}).status_code == 400
    assert client.put(there, json={"visibility": "public"}).json()["visibility"] == "public"
    assert client.get("/v1/specialists/eve/new").json()["visibility"] == "public"


def test_a_quarantined_version_is_shown_and_released(client):
    loud = tiny_adapter.weights({k: 10 * v for k, v in tiny_adapter.tensors().items()})
    files = FILES | {"adapter_model": ("adapter_model.safetensors", loud)}
    made = register(client, files=files).json()
    assert "changes the weights" in made["quarantined"]
    assert made["aliases"] == []
    assert "It is quarantined" in made["warnings"][-1]
    name = made["id"]
    assert client.get(f"/v1/specialists/{name}").json()["quarantined"] == made["quarantined"]
    body = {"model": f"{name}@1", "prompt": "a"}
    refused = client.post("/v1/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "quarantined")
    released = client.post(f"/v1/specialists/{name}/versions/1/release")
    assert released.json()["quarantined"] is None
    assert client.post("/v1/completions", json=body).status_code == 200
    assert client.post(f"/v1/specialists/{name}/versions/9/release").status_code == 404


def test_scores_are_added_and_shown(client):
    url = f"/v1/specialists/{register(client).json()['id']}"
    score = {"metric": "f1", "value": 0.5, "base_value": 0.1, "rows": 7, "data": "x"}
    added = client.post(f"{url}/versions/1/scores", json={"scores": [score]})
    assert added.json()["evaluation"] == client.get(url).json()["evaluation"] == [score]
    for wrong in ({"scores": []}, {"scores": [{"metric": "f1"}]}, {"scores": [score | {"x": 1}]}):
        assert client.post(f"{url}/versions/1/scores", json=wrong).status_code == 400
    for number, status in (("9", 404), ("x", 400)):
        answer = client.post(f"{url}/versions/{number}/scores", json={"scores": [score]})
        assert answer.status_code == status


def test_one_without_a_version_in_service_is_shown_and_promoted(client):
    data = {"card": json.dumps(CARD | {"id": "eve/new"})}
    made = client.post("/v1/specialists?alias=candidate", data=data, files=FILES).json()
    shown = client.get("/v1/specialists/eve/new").json()
    assert (shown["digest"], shown["aliases"]) == (made["digest"], {"candidate": 1})
    unknown = client.get("/v1/models/eve/new").json()["error"]
    assert "eve/new:candidate" in unknown["message"]
    promoted = client.put("/v1/specialists/eve/new/aliases/prod", json={"version": "candidate"})
    assert promoted.json()["version"] == 1
    assert client.get("/v1/models/eve/new").status_code == 200


def test_unknown_specialists_get_the_nearest_names(client):
    error = client.get("/v1/specialists/ada/frensh").json()["error"]
    assert "ada/french" in error["message"]
    assert error["code"] == "specialist_not_found"
    assert client.get("/v1/specialists/Ada/%00").status_code == 400


def test_a_registration_holds_even_when_the_routes_cannot_be_read(running, monkeypatch, caplog):
    made, client = running

    def fail() -> None:
        raise StorageError("away")

    monkeypatch.setattr(made.follower, "refresh", fail)
    assert register(client).status_code == 201
    assert "later: StorageError('away')" in caplog.text


def test_a_failing_store_is_503(client, monkeypatch):

    def fail(*_: object) -> None:
        raise StorageError("/secret/path")

    monkeypatch.setattr(Registry, "search", fail)
    response = client.get("/v1/specialists")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "secret" not in response.text


def test_health_and_readiness(running):
    made, client = running
    assert client.get("/healthz").json() == {"status": "ok"}
    expected = {"status": "ready", "missing": [], "generation": 2, "skipped": {}}
    assert client.get("/readyz").json() == expected
    made.engine.is_ready = False
    made.follower._snapshot = None
    response = client.get("/readyz")
    assert (response.status_code, response.json()["missing"]) == (503, ["snapshot", "engine"])
    assert response.json()["reading"] == {"done": 2, "of": 2}
    assert client.get("/healthz").status_code == 200


def test_an_engine_that_fails_to_say_is_not_ready(running, monkeypatch):
    made, client = running

    async def fail() -> bool:
        raise ConnectionError

    monkeypatch.setattr(made.engine, "ready", fail)
    assert client.get("/readyz").json()["missing"] == ["engine"]


def test_metrics_count_by_route_template_and_decision(client):
    body = {"model": "auto", "messages": [{"role": "user", "content": "weather forecast for x"}]}
    client.post("/v1/chat/completions", json=body)
    client.post("/v1/completions", json={"model": BASE, "prompt": "a b"})
    client.get("/v1/models/ada/french")
    client.get("/v1/specialists/ada/french")
    client.get("/nowhere")
    text = client.get("/metrics").text
    counted = [line for line in text.splitlines() if "_seconds_count{" in line]
    for method, route_, status in [
        ("POST", "/v1/chat/completions", 200),
        ("GET", "/v1/models/{reference:path}", 200),
        ("GET", "/v1/specialists/{owner}/{name}", 200),
        ("GET", "unmatched", 404),
    ]:
        labels = (
            f'http_request_method="{method}",http_response_status_code="{status}",'
            f'http_route="{route_}",replica="router"'
        )
        assert f"http_server_request_duration_seconds_count{{{labels}}} 1.0" in counted
    assert 'myriad_decisions_total{by="auto",replica="router",specialist="bob/weather"} 1.0' in text
    assert f'myriad_decisions_total{{by="name",replica="router",specialist="{BASE}"}} 1.0' in text
    labels = 'gen_ai_operation_name="text_completion",gen_ai_token_type="output",replica="router"'
    assert f"gen_ai_client_token_usage_sum{{{labels}}} 2.0" in text
    assert (
        'time_to_first_token_seconds_count{gen_ai_operation_name="chat",replica="router"} 1.0'
        in text
    )
    assert 'myriad_snapshot_generation{replica="router"} 2.0' in text
    assert 'myriad_snapshot_specialists{replica="router"} 2.0' in text
    assert 'myriad_snapshot_examples{replica="router"} 8.0' in text


def test_a_decision_shows_the_examples_that_speak_for_it_but_no_private_ones(client):
    card = CARD | {"examples": ["write a rhyme"], "private_examples": ["my secret sonnet"]}
    assert register(client, card=json.dumps(card)).is_success
    asked = {"input": "write a rhyme on the sea", "explain": True}
    found = client.post("/v1/route", json=asked).json()
    first = found["examples"][0]
    assert (first["specialist"], first["text"]) == ("eve/poet", "write a rhyme")
    assert 0 < first["similarity"] < 1
    assert len(found["examples"]) <= 6
    assert "secret" not in str(found)
    assert "examples" not in client.post("/v1/route", json={"input": "write a rhyme"}).json()
    nothing = client.post("/v1/route", json={"input": " ", "explain": True}).json()
    assert (nothing["examples"], nothing["rule"]) == ([], "empty")
