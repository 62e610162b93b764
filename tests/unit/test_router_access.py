"""Who may reach the API through a browser, and under which names it may be called."""

import re
from pathlib import Path

import pytest
from served import BASE, http_client, served, service
from starlette.datastructures import Headers

from router.api.access import AccessRules
from router.errors import Forbidden

PAGE = Path(__file__).resolve().parents[2] / "router/web/page"
CHAT = {"model": BASE, "messages": [{"role": "user", "content": "hi"}]}
FRIEND = "https://chat.example.org"
FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
]


@pytest.fixture
def made(tmp_path):
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def http(made):
    with served(made) as url, http_client(url) as http:
        yield http


@pytest.fixture
def friendly(made):
    rules = AccessRules(hosts=("myriad.example.org",), origins=(FRIEND,))
    with (
        served(made, access=rules) as url,
        http_client(url) as http,
    ):
        yield http


def refusal(response):
    assert response.status_code == 403, response.text
    error = response.json()["error"]
    assert error["type"] == "permission_error"
    assert response.headers["x-request-id"]
    return error


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_from_elsewhere_changes_nothing_and_reads_nothing(made, http, headers):
    for response in (
        http.post("/v1/chat/completions", json=CHAT, headers=headers),
        http.delete("/v1/specialists/ada/french", headers=headers),
        http.post("/v1/specialists", files={"card": b"x"}, headers=headers),
        http.get("/v1/specialists", headers=headers),
        http.options("/v1/specialists", headers=headers | {"access-control-request-method": "PUT"}),
    ):
        error = refusal(response)
        assert "MYRIAD_ALLOWED_ORIGINS" in error["message"]
        assert "access-control-allow-origin" not in response.headers
    assert made.engine.generations == []
    assert made.registry.get("ada/french")


def test_a_link_from_elsewhere_may_be_followed(http):
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert http.get("/docs", headers=visit | {"sec-fetch-dest": "document"}).status_code == 200
    refusal(http.delete("/docs", headers=visit | {"sec-fetch-dest": "document"}))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_another_name_is_refused(http, host):
    error = refusal(http.get("/v1/models", headers={"host": host}))
    assert error["code"] == "host_not_allowed"
    assert "MYRIAD_ALLOWED_HOSTS" in error["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "[::1]:8000", "app.localhost:80"]
)
def test_the_names_of_loopback_are_this_servers(http, host):
    assert http.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}], ids=str
)
def test_clients_without_an_origin_and_our_own_pages_go_on(http, headers):
    assert http.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    own = {"origin": str(http.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert http.post("/v1/chat/completions", json=CHAT, headers=own).status_code == 200


def test_an_allowed_origin_may_ask_first_and_read_the_answer(friendly):
    asked = {"origin": FRIEND, "sec-fetch-site": "cross-site"}
    wanted = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    first = friendly.options("/v1/chat/completions", headers=asked | wanted)
    assert first.status_code == 200
    assert first.headers["access-control-allow-origin"] == FRIEND
    assert "POST" in first.headers["access-control-allow-methods"]
    assert "x-stainless-os" in first.headers["access-control-allow-headers"]
    answer = friendly.post("/v1/chat/completions", json=CHAT, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert "x-myriad-specialist" in answer.headers["access-control-expose-headers"]
    missing = friendly.post("/v1/chat/completions", json=CHAT | {"model": "a/b"}, headers=asked)
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, FRIEND)
    refusal(friendly.get("/v1/models", headers={"origin": "http://chat.example.org"}))


def test_an_allowed_origin_may_use_every_verb_there_is(friendly):
    for path, verbs in friendly.get("/openapi.json").json()["paths"].items():
        for verb in verbs:
            asked = {"origin": FRIEND, "access-control-request-method": verb.upper()}
            assert friendly.options(path, headers=asked).status_code == 200, (verb, path)


def test_an_allowed_name_is_ours(friendly):
    assert friendly.get("/v1/models", headers={"host": "Myriad.Example.Org:80"}).status_code == 200
    refusal(friendly.get("/v1/models", headers={"host": "example.org"}))


def test_a_star_allows_all():
    headers = Headers({"host": "evil.example", "origin": "http://else.where"})
    AccessRules(("*",), ("*",)).check("POST", headers)
    with pytest.raises(Forbidden):
        AccessRules(("*",), ()).check("POST", headers)
    with pytest.raises(Forbidden):
        AccessRules((), ("*",)).check("POST", headers)


def test_our_pages_take_nothing_from_the_internet(http):
    for path in ("/", "/docs"):
        page = http.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "https://" not in page.text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/assets/{asset}" in http.get("/docs").text
        assert http.get(f"/docs/assets/{asset}").status_code == 200
    for link in ("docs", "v1/models", "readyz", "metrics"):
        assert f'href="{link}"' in http.get("/").text
        assert http.get(f"/{link}").status_code == 200


def test_the_page_runs_nothing_but_its_own_files(http):
    page = http.get("/")
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert "<style" not in page.text
    assert re.findall(r"<script[^>]*>", page.text) == ['<script type="module" src="page/page.js">']
    for path in PAGE.iterdir():
        file = http.get(f"/page/{path.name}")
        assert file.content == path.read_bytes()
        assert file.headers["cache-control"] == "no-cache"
        assert "https://" not in file.text
    assert http.get("/page/%2e%2e/__init__.py").status_code == 404
