"""Embeddings by the router's encoder, asked for with OpenAI's own client."""

import asyncio
import threading

import httpx
import numpy as np
import openai
import pytest
from hashed import HashedWords
from openai import OpenAI
from patience import HANGS, until
from served import served, service
from test_router_disconnect import send

from router.api import embeddings
from router.keyring import ANYONE

MODEL = HashedWords().name


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        service(tmp_path_factory.mktemp("home")) as made,
        served(made) as url,
        OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client,
    ):
        yield client


def vectors(answer):
    return np.array([each.embedding for each in answer.data], dtype=np.float32)


@pytest.mark.parametrize("form", ["float", "base64", openai.omit])
def test_texts_become_the_encoders_vectors_in_order(client, form):
    texts = ["rain in oslo", "sun"]
    answer = client.embeddings.create(model=MODEL, input=texts, encoding_format=form)
    found = answer
    if form == "base64":
        found = client.embeddings.create(model=MODEL, input=texts)
    np.testing.assert_allclose(vectors(found), HashedWords().encode(texts), atol=1e-6)
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens) == (MODEL, 4)


def test_one_text_is_a_list_of_one(client):
    answer = client.embeddings.create(model=MODEL, input="sun", dimensions=256)
    np.testing.assert_allclose(vectors(answer), HashedWords().encode(["sun"]), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "text-embedding-3-small"}, openai.NotFoundError, "model"),
        ({"input": []}, openai.BadRequestError, "input"),
        ({"input": ""}, openai.BadRequestError, "input[0]"),
        ({"input": ["a"] * 257}, openai.BadRequestError, "input"),
        ({"input": [1, 2]}, openai.BadRequestError, "input[0]"),
        ({"dimensions": 5}, openai.BadRequestError, "dimensions"),
        ({"encoding_format": "int8"}, openai.BadRequestError, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_named(client, fields, error, param):
    with pytest.raises(error) as caught:
        client.embeddings.create(**({"model": MODEL, "input": "sun"} | fields))
    assert caught.value.param == param
    assert param != "model" or MODEL in str(caught.value)


class Counting(HashedWords):
    """Reads only while it may, and notes how many texts at a time."""

    def __init__(self):
        super().__init__()
        self.read, self.may = [], threading.Event()

    def encode(self, texts):
        self.read.append(len(texts))
        assert self.may.wait(HANGS)
        return super().encode(texts)


def test_who_asks_for_one_text_does_not_wait_for_anothers_many(tmp_path):
    with service(tmp_path) as made:
        done = []

        async def ask(count):
            vectors, tokens = await embeddings._read(made, ANYONE, ["rain"] * count)
            assert (len(vectors), tokens) == (count, count)
            done.append(count)

        async def both():
            await asyncio.gather(ask(100), ask(1))

        asyncio.run(both())
    assert done == [1, 100]


def test_nothing_more_is_read_for_a_client_that_is_gone(tmp_path):
    with service(tmp_path) as made, served(made) as url:
        made.encoder = Counting()
        line = send(url, "/v1/embeddings", model=MODEL, input=["rain"] * 100)
        until(lambda: made.encoder.read, every=0.001)
        line.close()
        gone = 'http_response_status_code="499"'
        until(lambda: gone in httpx.get(f"{url}/metrics", timeout=HANGS).text, every=0.01)
        made.encoder.may.set()
        with OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            client.embeddings.create(model=MODEL, input="sun")
        assert made.encoder.read == [embeddings.TOGETHER, 1]
