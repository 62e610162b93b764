"""Embeddings by the router's encoder, asked for with OpenAI's own client."""

import numpy as np
import openai
import pytest
from openai import OpenAI
from served import served, service

from router.routing.hashed import HashedWords

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
