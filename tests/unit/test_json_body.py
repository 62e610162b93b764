"""Bodies as clients send them, and paths and methods as they write them."""

import gzip
import json
from functools import partial

import pytest
from served import BASE, http_client, served, service

CHAT = json.dumps({"model": BASE, "messages": [{"role": "user", "content": "hi"}]}).encode()
JSON = {"content-type": "application/json"}
compress = partial(gzip.compress, mtime=0)
"""Without the time: the names of tests are made of it, and every process must find the same."""
GZIP = JSON | {"content-encoding": "gzip"}


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    with (
        service(tmp_path_factory.mktemp("home")) as made,
        served(made) as url,
        http_client(url) as http,
    ):
        yield http


def post(http, content, headers, path="/v1/chat/completions"):
    return http.post(path, content=content, headers=headers)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (CHAT, JSON),
        (b"\xef\xbb\xbf" + CHAT, JSON),
        (CHAT, {"content-type": "Application/JSON; charset=UTF-8"}),
        (CHAT, {"content-type": "application/problem+json"}),
        (compress(CHAT), GZIP),
        (compress(CHAT[:20]) + compress(CHAT[20:]), GZIP),
        (CHAT, JSON | {"content-encoding": "identity"}),
    ],
)
def test_json_is_read_however_it_comes(http, content, headers):
    assert post(http, content, headers).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status", "word"),
    [
        (CHAT, {"content-type": "text/plain"}, 415, "application/json"),
        (CHAT, {}, 415, "application/json"),
        (CHAT, {"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        (CHAT, {"content-type": "application/json; charset=utf-16"}, 415, "UTF-8"),
        (CHAT, JSON | {"content-encoding": "br"}, 415, "'br'"),
        (CHAT, GZIP, 400, "not gzip"),
        (compress(CHAT)[:-4], GZIP, 400, "cut short"),
        (b"", GZIP, 400, "cut short"),
        (compress(b"") * 17, GZIP, 400, "members"),
        (compress(b" " * (4 * 1024 * 1024 + 1)), GZIP, 413, "limit"),
        (b"", JSON, 400, "JSON"),
    ],
)
def test_what_is_not_json_is_named(http, content, headers, status, word):
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/route"):
        response = post(http, content, headers, path)
        assert response.status_code == status
        assert word in response.json()["error"]["message"]


def test_a_trailing_slash_is_no_other_path(http):
    for path in ("/v1/models/", "/v1/specialists/", "/v1/models/ada/french/", "/healthz/"):
        response = http.get(path)
        assert response.status_code == 200, path
    assert http.get("/v1/models/").json()["object"] == "list"
    assert post(http, CHAT, JSON, "/v1/chat/completions/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/metrics", "/v1/models"])
def test_head_is_answered_wherever_get_is(http, path):
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert http.head("/nowhere").status_code == 404
    assert http.head("/v1/completions").status_code == 405
