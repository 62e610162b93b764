"""Lineage over HTTP."""

import pytest
import tiny_adapter
from served import http_client, register, served, service


@pytest.fixture
def running(tmp_path):
    with (
        service(tmp_path) as made,
        served(made) as url,
        http_client(url) as client,
    ):
        origins = {"parents": ["ada/french"], "teachers": [{"name": "big", "license": "mit"}]}
        register(made.registry, "eve/child", seed=4, origins=origins)
        yield client


def edges(found):
    assert found["object"] == "lineage"
    label = {node["id"]: node["label"] for node in found["nodes"]}
    return {(label[each["from"]], each["relation"], label[each["to"]]) for each in found["edges"]}


def test_a_version_has_its_origins_and_what_stands_on_it(running):
    found = running.get("/v1/specialists/eve/child/lineage").json()
    assert edges(found) >= {
        ("ada/french@1", "parent", "eve/child@1"), ("big", "teacher", "eve/child@1"),
    }  # fmt: skip
    assert found["nodes"][0]["aliases"] == ["prod"]
    assert not found["truncated"]
    for version in ("@1", ":prod"):
        again = running.get("/v1/specialists/ada/french/lineage", params={"version": version})
        assert ("ada/french@1", "parent", "eve/child@1") in edges(again.json())


def test_what_stands_on_a_teacher(running):
    query = {"relation": "teacher", "subject": "big"}
    found = running.get("/v1/lineage", params=query).json()
    assert ("big", "teacher", "eve/child@1") in edges(found)
    assert found["focus"] == "teacher big"


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/specialists/ada/nobody/lineage", {}, 404),
        ("/v1/specialists/ada/french/lineage", {"version": "@9"}, 404),
        ("/v1/specialists/ada/french/lineage", {"version": "nonsense!"}, 400),
        ("/v1/lineage", {"relation": "mother", "subject": "x"}, 400),
        ("/v1/lineage", {"relation": "base"}, 400),
    ],
)
def test_refusals(running, path, query, status):
    response = running.get(path, params=query)
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert tiny_adapter.BASE.name not in response.text
