"""What a request leaves open: its card says it, then the base, then the settings."""

import json

import pytest
from openai import OpenAI
from served import BASE, register, served, service

from deploy.home import default_sampling
from deploy.settings import Settings
from registry.card import SamplingDefaults
from router.sampling import Sampling
from specialists.base import Base
from specialists.generation_config import generation_defaults, write_generation_defaults

ADVICE = Sampling(temperature=0.2, top_p=0.9, max_tokens=256)
SAID = SamplingDefaults(temperature=0.0, stop=("END",))


@pytest.fixture
def made(tmp_path):
    with service(tmp_path, sampling=ADVICE) as made:
        register(made.registry, "ada/exact", sampling=SAID)
        made.follower.refresh()
        yield made


@pytest.fixture
def client(made):
    with served(made) as url, OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        yield client


def chat(client, model, **fields):
    messages = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model=model, messages=messages, **fields)


@pytest.mark.parametrize(
    ("model", "fields", "applied"),
    [
        (BASE, {}, {"temperature": 0.2, "top_p": 0.9, "max_tokens": 256}),
        ("ada/french", {}, {"temperature": 0.2, "top_p": 0.9, "max_tokens": 256}),
        (
            "ada/exact",
            {},
            {"temperature": 0.0, "top_p": 0.9, "max_tokens": 256, "stop": ["END"]},
        ),
        (
            "ada/exact",
            {"temperature": 1, "stop": "X", "max_completion_tokens": 9, "seed": 3},
            {"temperature": 1.0, "top_p": 0.9, "max_tokens": 9, "stop": ["X"], "seed": 3},
        ),
    ],
)
def test_request_then_card_then_base(made, client, model, fields, applied):
    answer = chat(client, model, **fields)
    assert answer.model_extra["routing"]["sampling"] == applied
    asked = made.engine.generations[-1].sampling
    assert json.loads(json.dumps(asked.set)) == applied


def test_a_stream_shows_what_was_applied_in_its_first_chunk(client):
    first = next(chat(client, BASE, stream=True))
    assert first.model_extra["routing"]["sampling"]["temperature"] == 0.2


def test_a_completion_takes_them_too_but_its_length_is_openais(made, client):
    client.completions.create(model="ada/exact", prompt="hi")
    asked = made.engine.generations[-1].sampling
    assert asked == Sampling(temperature=0.0, top_p=0.9, max_tokens=16, stop=("END",))


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, {}),
        ({"temperature": 0.6}, {}),
        ({"do_sample": False, "temperature": 0.6}, {"temperature": 0.0}),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_new_tokens": 7},
            {"temperature": 0.6, "top_p": 0.9, "max_tokens": 7},
        ),
        ({"do_sample": True, "temperature": "hot"}, {}),
        ([], {}),
    ],
)
def test_a_base_advises_as_transformers_reads_it(tmp_path, config, found):
    if config is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(config))
    assert generation_defaults(tmp_path) == found


def test_an_unreadable_file_advises_nothing(tmp_path):
    (tmp_path / "generation_config.json").write_text("{")
    assert generation_defaults(tmp_path) == {}


def test_advice_is_added_to_what_is_there(tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    write_generation_defaults(tmp_path, {"temperature": 0.2, "max_new_tokens": 256})
    assert generation_defaults(tmp_path) == {"temperature": 0.2, "max_tokens": 256}
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == 2


def test_the_settings_come_last(tmp_path):
    write_generation_defaults(tmp_path, {"temperature": 0.2})
    settings = Settings(sampling={"temperature": 0.9, "max_tokens": 50})
    applied = default_sampling(settings, Base("tiny", tmp_path))
    assert applied == Sampling(temperature=0.2, top_p=1.0, max_tokens=50)
