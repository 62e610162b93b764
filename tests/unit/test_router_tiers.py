"""`service_tier`: what nobody waits for says so itself."""

import openai
import pytest
from openai import OpenAI
from served import BASE, served, service

HELLO = [{"role": "user", "content": "hello"}]
STEPS = {"routing": {"steps": [{"model": BASE, "prompt": "Say {request}"}, {"model": BASE}]}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with service(tmp_path_factory.mktemp("home")) as made, served(made) as url:
        yield made, url


@pytest.fixture
def made(running):
    running[0].engine.generations.clear()
    return running[0]


@pytest.fixture
def client(running):
    with OpenAI(base_url=f"{running[1]}/v1", api_key="none", max_retries=0) as made:
        yield made


def chat(client, **fields):
    return client.chat.completions.create(model=BASE, messages=HELLO, **fields)


def completion(client, **fields):
    tier = fields.pop("service_tier")
    return client.completions.create(
        model=BASE, prompt="hello", extra_body={"service_tier": tier}, **fields
    )


def response(client, **fields):
    return client.responses.create(model=BASE, input="hello", **fields)


@pytest.mark.parametrize("ask", [chat, completion, response])
@pytest.mark.parametrize(
    ("tier", "told", "absent"),
    [("flex", "flex", True), ("auto", "default", False), ("default", "default", False)],
)
def test_flex_gives_way_and_is_told(made, client, ask, tier, told, absent):
    answer = ask(client, service_tier=tier)
    assert answer.service_tier == told
    [generation] = made.engine.generations
    assert generation.absent == absent
    assert generation.tenant == (" (absent)" if absent else None)


def test_who_asks_for_no_tier_is_told_of_none(client):
    assert "service_tier" not in chat(client).model_fields_set


def test_a_stream_tells_it_at_its_beginning(client):
    with chat(client, service_tier="flex", stream=True) as chunks:
        assert next(iter(chunks)).service_tier == "flex"


def test_all_steps_give_way(made, client):
    chat(client, service_tier="flex", extra_body=STEPS)
    assert [each.absent for each in made.engine.generations] == [True, True]


@pytest.mark.parametrize("ask", [chat, response])
def test_other_tiers_are_refused(client, ask):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, service_tier="priority")
    assert refused.value.param == "service_tier"
    assert "flex" in refused.value.message
