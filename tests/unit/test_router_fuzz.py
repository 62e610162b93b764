"""Whatever a client sends, it gets an answer or a refusal, never a server error."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from served import ASKED_IN_JSON, http_client, served, service

from router.api.app import ROUTES

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
    "response_format", "structured_outputs", "logit_bias", "best_of", "echo", "input",
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
PATH = st.sampled_from(ASKED_IN_JSON)
NAMES = ["ada", "french", "prod", "base", "1", "9" * 30, str(2**63), "-1", "..", "%00", "\0", ""]
PLACES = [
    (
        method,
        re.sub(r"\{(\w+)(:path)?\}", "{}", route.path),
        [
            name
            for field in route.dependant.query_params
            for name in getattr(field.field_info.annotation, "model_fields", [field.name])
        ],
    )
    for routes in ROUTES
    for route in routes.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
"""Every endpoint: its method, its path with holes, and what it takes in the query."""


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


@settings(deadline=None, max_examples=300)
@given(place=st.sampled_from(PLACES), data=st.data())
def test_any_address(client: httpx.Client, place: tuple[str, str, list[str]], data: st.DataObject):
    method, path, taken = place
    words = st.sampled_from(NAMES) | TEXT
    filled = path.format(*(quote(data.draw(words), safe="") for _ in range(path.count("{}"))))
    query = data.draw(st.dictionaries(st.sampled_from(taken), words)) if taken else {}
    body = {"json": {}} if method in ("POST", "PUT") else {}
    check(client.request(method, filled, params=query, **body))


@pytest.mark.parametrize(
    "address", ["/v1/files/%00", "/v1/files?after=a%00b", "/v1/files?a%00b=1", "/%00"]
)
def test_a_nul_in_an_address_is_refused_by_name(client: httpx.Client, address: str):
    refused = client.get(address)
    assert refused.status_code == 400
    assert "must not contain NUL" in refused.json()["error"]["message"]
    assert refused.headers["x-request-id"]


def test_what_only_looks_like_a_nul_is_looked_for(client: httpx.Client):
    assert client.get("/v1/files/%2500").json()["error"]["code"] == "file_not_found"
