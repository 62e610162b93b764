"""While the registry is away a router answers by what it read, though nobody asked it before."""

import asyncio

import pytest
import tiny_adapter
from served import http_client, register, served, service
from test_router_keys import FILES

from registry.card import SamplingDefaults
from registry.errors import StorageError
from registry.scopes import Scope

MESSAGES = [{"role": "user", "content": "translate bread into french"}]


def take_away(made, home):
    """What holds the registry is where nobody finds it."""
    made.registry.close()
    home.rename(home.with_name("elsewhere"))
    with pytest.raises(StorageError):
        made.registry.generation()


@pytest.fixture
def http(tmp_path):
    """A client with a key that never was used, of a router that is without its registry."""
    home = tmp_path / "home"
    with service(home, interval=3600) as made:
        register(made.registry, "ada/exact", seed=7, sampling=SamplingDefaults(temperature=0.25))
        _, key = made.registry.keys.create("phone", [Scope.INFER, Scope.WRITE], "ada")
        made.follower.refresh()
        asyncio.run(made.start())
        take_away(made, home)
        headers = {"authorization": f"Bearer {key}"}
        with (
            served(made) as url,
            http_client(url, headers=headers) as client,
        ):
            yield client
        asyncio.run(made.stop())


def test_a_router_that_nobody_asked_before_answers_as_the_card_says(http):
    body = {"messages": MESSAGES, "routing": {}}
    named = http.post("/v1/chat/completions", json=body | {"model": "ada/exact"})
    assert named.json()["routing"]["sampling"]["temperature"] == 0.25
    routed = http.post("/v1/chat/completions", json=body | {"model": "auto"})
    assert routed.json()["model"] == "ada/french"


def test_a_key_is_needed_as_before(http):
    body = {"model": "ada/exact", "messages": MESSAGES}
    nobody = http.post("/v1/chat/completions", json=body, headers={"authorization": ""})
    assert nobody.status_code == 401


def test_writing_is_refused_and_so_is_what_was_never_read(http):
    card = tiny_adapter.card("ada/late").model_dump_json(exclude_none=True)
    late = http.post("/v1/specialists", files=FILES, data={"card": card})
    assert late.json()["error"]["code"] == "storage_unavailable"
    assert http.get("/v1/models/ada/french:1").status_code == 503
