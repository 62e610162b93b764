"""Whatever a client sends, it gets an answer or a refusal, never a server error."""

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import http_client, served, service

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
KEYS = [
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "n", "seed", "stop",
    "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "user", "tools", "prompt",
    "response_format", "logit_bias", "best_of", "echo", "input",
]  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "developer"]), "content": TEXT}
)
PLAUSIBLE = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["auto", "ada/french", "tiny", "no/body"]) | TEXT,
        "messages": st.lists(MESSAGE | JSON, max_size=3),
        "prompt": TEXT | st.lists(TEXT | st.integers()),
    }
)
BODY = st.builds(
    lambda plausible, keys, extra: {k: plausible[k] for k in keys if k in plausible} | extra,
    PLAUSIBLE,
    st.sampled_from([["model", "messages"], ["model", "prompt"], ["messages"], []]),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3),
)
PATH = st.sampled_from(
    ["/v1/chat/completions", "/v1/completions", "/v1/route", "/v1/responses", "/v1/embeddings"]
)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[httpx.Client]:
    with (
        service(tmp_path_factory.mktemp("home")) as made,
        served(made) as url,
        http_client(url) as opened,
    ):
        yield opened


def check(response: httpx.Response) -> None:
    assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
    if response.status_code >= 400:
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]


@settings(deadline=None, max_examples=200)
@given(path=PATH, body=BODY | JSON)
def test_any_json(client: httpx.Client, path: str, body: object):
    check(client.post(path, json=body))


@settings(deadline=None, max_examples=100)
@given(path=PATH, content=st.binary(max_size=200))
def test_any_bytes(client: httpx.Client, path: str, content: bytes):
    check(client.post(path, content=content, headers={"content-type": "application/json"}))


@settings(deadline=None, max_examples=100)
@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_reference(client: httpx.Client, text: str):
    quoted = httpx.QueryParams({"x": text}).__str__()[2:].replace("+", "%20")
    check(client.get(f"/v1/models/{quoted}"))
    check(client.get("/v1/specialists", params={"q": text, "tag": text, "cursor": text}))
