"""API keys over HTTP: who is let in, what each may do, and what another's eyes see."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Semaphore
from types import SimpleNamespace

import openai
import pytest
import tiny_adapter
from patience import HANGS
from served import BASE, http_client, register, served, service

from registry import archive
from registry.conversations import Conversations
from registry.errors import StorageError
from registry.keys import Keys
from registry.quota import Quota
from registry.registry import Registry
from registry.scopes import Scope
from registry.view import Visibility
from router import keyring, quotas
from router.api.app import create_app
from router.api.upload import Upload
from router.routing.follower import Follower

OPEN = {"/healthz", "/readyz", "/health"}
FILES = {
    "adapter_config": ("adapter_config.json", tiny_adapter.config()),
    "adapter_model": ("adapter_model.safetensors", tiny_adapter.weights(seed=5)),
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    with service(tmp_path) as made:
        for name in ("ada/french", "bob/weather"):
            made.registry.show_to(name, Visibility.PUBLIC)
        secret = ["what is the secret of the sphinx", "tell me the secret of the sphinx"]
        register(made.registry, "bob/secret", seed=9, examples=secret)
        made.follower.refresh()
        yield made


@pytest.fixture
def url(made):
    with served(made) as url:
        yield url


@pytest.fixture
def client(url):
    """Makes a client that sends a key."""
    with ExitStack() as stack:

        def connected(key=None):
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            made = http_client(url, headers=headers)
            return stack.enter_context(made)

        yield connected


@pytest.fixture
def key(made):
    """Makes a key of an owner with some scopes."""
    return lambda owner, *scopes: made.registry.keys.create("x", scopes, owner)[1]


def chat(http, model=BASE):
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return http.post("/v1/chat/completions", json=body)


def code(response):
    return response.status_code, response.json()["error"]["code"]


def test_without_any_key_everything_is_open_whatever_is_sent(client):
    for sent in (None, "sk-anything"):
        assert chat(client(sent)).status_code == 200
        assert client(sent).get("/v1/specialists/bob/secret").status_code == 200


def test_with_one_everything_needs_one(client, url, key):
    right = key("ada", Scope.INFER)
    wrong = right[:-1] + ("a" if right[-1] != "a" else "b")
    for sent in (None, "sk-anything", wrong, f"mk_{'a' * 12}_{'b' * 43}"):
        answer = chat(client(sent))
        assert code(answer) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert chat(client(right)).status_code == 200
    with openai.OpenAI(base_url=f"{url}/v1", api_key=right) as real:
        assert BASE in [model.id for model in real.models.list()]
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-anything") as real,
        pytest.raises(openai.AuthenticationError),
    ):
        real.models.list()


def test_where_anybody_could_come_nothing_is_open_without_a_key(made):
    made.keyring = keyring.Keyring(made.registry.keys, made.pools.reading, opens=False)
    with served(made) as url, http_client(url) as nobody:
        assert code(chat(nobody)) == (401, "invalid_api_key")


def test_every_endpoint_asks_for_one_scope(client, made, key):
    holders = {scope: client(key("x", scope)) for scope in set(Scope) - {Scope.ADMIN}}
    asked = {}
    for path, verbs in create_app(made).openapi()["paths"].items():
        url = re.sub(r"{.*?}", "x", path)
        for verb in verbs:
            if path in OPEN:
                assert client().request(verb, url).is_success
                continue
            assert code(client().request(verb, url)) == (401, "invalid_api_key")
            answers = {scope: http.request(verb, url) for scope, http in holders.items()}
            let_in = [scope for scope, each in answers.items() if each.status_code != 403]
            assert client(key("x", Scope.ADMIN)).request(verb, url).status_code != 403
            asked[verb, path.removeprefix("/v1/")] = let_in
    assert asked["post", "chat/completions"] == [Scope.INFER]
    assert asked["get", "/metrics"] == [Scope.METRICS]
    assert asked["get", "specialists"] == [Scope.READ]
    assert asked["post", "specialists"] == [Scope.WRITE]
    rollback = "specialists/{owner}/{name}/aliases/{alias}/rollback"
    assert asked["post", rollback] == [Scope.DEPLOY]
    admins = [endpoint for endpoint, scopes in asked.items() if not scopes]
    assert admins == [
        ("post", "specialists/{owner}/{name}/versions/{number}/release"),
        *(("get", "keys"), ("post", "keys"), ("delete", "keys/{identity}")),
        *(("get", "audit"), ("get", "audit/verify")),
        *(("get", "registry/backup"), ("post", "registry/verify"), ("post", "registry/gc")),
    ]
    assert all(len(scopes) == 1 for each, scopes in asked.items() if each not in admins)


def test_a_key_does_what_it_is_for(client, key):
    asks = {
        Scope.INFER: lambda http: chat(http),
        Scope.READ: lambda http: http.get("/v1/specialists"),
        Scope.WRITE: lambda http: upload(http, "ada/new"),
        Scope.DEPLOY: lambda http: http.delete("/v1/specialists/ada/french"),
        Scope.METRICS: lambda http: http.get("/metrics"),
        Scope.ADMIN: lambda http: http.get("/v1/keys"),
    }
    for scope in Scope:
        for asked, ask in asks.items():
            answer = ask(client(key("ada", scope)))
            if scope in (asked, Scope.ADMIN):
                assert answer.is_success or answer.status_code == 404, (scope, asked)
            else:
                assert code(answer) == (403, "scope_missing")
                assert f"'{asked}'" in answer.json()["error"]["message"]


def upload(http, name, **query):
    card = json.dumps({"id": name, "description": "New."})
    return http.post("/v1/specialists", data={"card": card}, files=FILES, params=query)


def test_anothers_private_specialist_is_nowhere(client, made, key):
    eve = client(key("eve", *set(Scope) - {Scope.ADMIN, Scope.METRICS}))
    secret = ("", "/aliases", "/aliases/prod/history", "/canary", "/lineage")
    paths = [f"specialists/bob/secret{rest}" for rest in secret]
    for path in [*paths, "models/bob/secret", "models/bob/secret@1"]:
        there = eve.get(f"/v1/{path}")
        none = eve.get(f"/v1/{path.replace('secret', 'secreu')}")
        assert there.status_code == none.status_code == 404
        assert there.text.replace("secret", "secreu") == none.text
    text = "what is the secret of the sphinx"
    decided = eve.post("/v1/route", json={"input": text})
    assert decided.json()["generation"] is None
    told = [
        decided,
        eve.get("/v1/models"),
        eve.get("/v1/specialists"),
        eve.get("/v1/specialists?search=secret"),
        eve.get("/v1/lineage?relation=base&subject=tiny"),
        eve.get("/readyz"),
        chat(eve, "bob/secre"),
    ]
    assert "bob/secret" not in "".join(answer.text for answer in told)
    assert code(chat(eve, "bob/secret")) == (404, "model_not_found")
    assert code(upload(eve, "bob/secret")) == code(upload(eve, "bob/other")) == (403, "not_owned")
    assert code(eve.delete("/v1/specialists/bob/secret")) == (403, "not_owned")
    bob = client(key("bob", Scope.INFER))
    assert bob.post("/v1/route", json={"input": text}).json()["specialist"] == "bob/secret"
    assert chat(bob, "bob/secret").status_code == 200
    made.registry.show_to("bob/secret", Visibility.UNLISTED)
    made.follower.refresh()
    eve = client(key("eve", Scope.INFER))
    assert chat(eve, "bob/secret").status_code == 200
    assert "bob/secret" not in eve.get("/v1/models").text


@pytest.fixture
def slowly():
    """Makes work wait until it `may` go on; `begun` counts what waits."""
    may, begun = Event(), Semaphore(0)

    def waiting(work):
        def worked(*args, **options):
            begun.release()
            assert may.wait(HANGS)
            return work(*args, **options)

        return worked

    yield SimpleNamespace(of=waiting, may=may, begun=begun)
    may.set()


def test_keys_are_looked_up_while_what_is_read_is_large(client, key, monkeypatch, slowly):
    admin = client(key(None, Scope.ADMIN))
    monkeypatch.setattr(Registry, "pack", slowly.of(Registry.pack))
    monkeypatch.setattr(Conversations, "list", slowly.of(Conversations.list))
    bundle, chats = "/v1/specialists/ada/french/versions/1/bundle", "/v1/chat/completions"
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(admin.get, path) for path in (bundle, chats) * 4]
        assert all(slowly.begun.acquire(timeout=HANGS) for _ in range(2))
        assert chat(admin).status_code == 200
        slowly.may.set()
        assert all(each.result().is_success for each in asked)


def test_a_key_is_revoked_at_once_while_uploads_and_new_routes_take_long(
    client, key, monkeypatch, slowly
):
    admin = client(key(None, Scope.ADMIN))
    gone = admin.post("/v1/keys", json={"name": "app", "scopes": ["infer"], "owner": "ada"}).json()
    monkeypatch.setattr(Upload, "register", slowly.of(Upload.register))
    monkeypatch.setattr(Follower, "refresh", slowly.of(Follower.refresh))
    card = tiny_adapter.card("ada/late").model_dump_json(exclude_none=True)
    with ThreadPoolExecutor(5) as clients:
        alias = clients.submit(
            admin.put, "/v1/specialists/ada/french/aliases/calm", json={"version": 1}
        )
        uploads = [
            clients.submit(admin.post, "/v1/specialists", files=FILES, data={"card": card})
            for _ in range(2)
        ]
        assert all(slowly.begun.acquire(timeout=HANGS) for _ in range(3))
        assert admin.delete(f"/v1/keys/{gone['id']}").json()["revoked"] > 0
        slowly.may.set()
        assert all(each.result().is_success for each in (alias, *uploads))


def test_an_admin_makes_and_revokes_keys(client, key):
    admin = client(key(None, Scope.ADMIN))
    body = {"name": "app", "scopes": ["infer"], "owner": "ada", "expires": 4_000_000_000}
    answer = admin.post("/v1/keys", json=body)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert made | body == made
    used = client(made.pop("key"))
    assert chat(used).status_code == 200
    assert made in admin.get("/v1/keys").json()["data"]
    assert admin.delete(f"/v1/keys/{made['id']}").json()["revoked"] > 0
    assert code(chat(used)) == (401, "invalid_api_key")
    assert code(admin.delete("/v1/keys/nobody")) == (404, "key_not_found")
    for wrong in ({"scopes": ["root"]}, {"name": ""}, {"expires": 5}, {"owner": None}):
        assert admin.post("/v1/keys", json=body | wrong).status_code == 400
    assert chat(admin, "bob/secret").status_code == 200


def test_a_key_that_expired_is_refused(client, key, monkeypatch):
    text = key("ada", Scope.INFER)
    monkeypatch.setattr("registry.keys.Key.is_valid", False)
    assert code(chat(client(text))) == (401, "invalid_api_key")


def test_who_was_let_in_still_is_while_the_registry_is_away(client, key, monkeypatch):
    def fail(*_: object) -> None:
        raise StorageError("away")

    known, fresh = client(key("ada", Scope.INFER)), client(key("ada", Scope.INFER))
    assert chat(known).status_code == 200
    monkeypatch.setattr(Keys, "find", fail)
    assert chat(known).status_code == 200
    assert code(chat(fresh)) == (503, "storage_unavailable")


def test_only_so_many_keys_are_remembered(client, key, monkeypatch):
    monkeypatch.setattr(keyring, "KNOWN", 2)
    keys = [client(key("ada", Scope.INFER)) for _ in range(4)]
    assert [chat(each).status_code for each in keys * 2] == [200] * 8


def test_an_admin_keeps_the_registry(client, made, key, tmp_path):
    admin = client(key(None, Scope.ADMIN))
    assert admin.post("/v1/registry/verify").json()["ok"]
    saved = admin.get("/v1/registry/backup")
    (tmp_path / "saved.tar").write_bytes(saved.content)
    archive.restore(tmp_path / "saved.tar", tmp_path / "again")
    again = Registry.open(tmp_path / "again", tiny_adapter.BASE)
    assert again.live() == made.registry.live()
    again.close()
    admin.delete("/v1/specialists/bob/secret")
    gone = admin.post("/v1/registry/gc", json={"days": 0}).json()
    assert gone == {"object": "collection", "specialists": 1, "files": 0, "nbytes": 0}
    assert admin.post("/v1/registry/gc", json={}).json()["specialists"] == 0
    assert admin.post("/v1/registry/gc", json={"days": -1}).status_code == 400
    [weights] = {made.registry.get("ada/french").files.weights}
    weights.write_bytes(b"damaged")
    found = admin.post("/v1/registry/verify").json()
    assert (found["ok"], "is damaged" in found["problems"][0]) == (False, True)
    assert code(admin.get("/v1/registry/backup")) == (503, "storage_unavailable")


def test_a_quota_is_held_and_told(client, made, key, monkeypatch):
    # However slow the machine is, nothing is given back meanwhile.
    monkeypatch.setattr(quotas, "time", SimpleNamespace(monotonic=lambda: 0.0))
    quota = {"requests_per_minute": 3, "tokens_per_minute": 2000}
    admin = client(key(None, Scope.ADMIN))
    body = {"name": "app", "scopes": ["infer"], "owner": "ada", "quota": quota}
    created = admin.post("/v1/keys", json=body).json()
    assert created["quota"] == quota
    http = client(created["key"])
    first, second = chat(http), chat(http)
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert second.headers["x-ratelimit-remaining-requests"] == "1"
    spent = first.json()["usage"]["total_tokens"]
    assert int(second.headers["x-ratelimit-remaining-tokens"]) <= 2000 - spent
    streamed = http.post("/v1/completions", json={"model": BASE, "prompt": "a", "stream": True})
    assert "[DONE]" in streamed.text
    for refused in (chat(http), http.get("/v1/models"), http.post("/v1/embeddings", json={})):
        assert code(refused) == (429, "rate_limit_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 20
    for wrong in ({"requests_per_minute": 0}, {"colour": 1}, {"bytes": -1}):
        assert admin.post("/v1/keys", json=body | {"quota": wrong}).status_code == 400


def test_no_more_is_registered_than_the_quota_has_room_for(client, made):
    quota = Quota(specialists=1)
    _, text = made.registry.keys.create("x", [Scope.WRITE], "eve", quota=quota)
    http = client(text)
    assert upload(http, "eve/one").status_code == 201
    refused = upload(http, "eve/two")
    assert code(refused) == (429, "insufficient_quota")
    assert refused.headers["retry-after"] == "60"


def test_an_admin_reads_who_did_what(client, made, key):
    admin, ada = client(key(None, Scope.ADMIN)), client(key("ada", Scope.DEPLOY))
    ada.put("/v1/specialists/ada/french/visibility", json={"visibility": "unlisted"})
    [entry] = admin.get("/v1/audit?limit=1").json()["data"]
    assert (entry["action"], entry["specialist"]) == ("visibility.set", "ada/french")
    identity = made.registry.keys.list()[0].id
    assert entry["details"] == {"by": identity, "visibility": "unlisted"}
    listed = admin.get("/v1/audit?specialist=ada/french").json()["data"]
    assert {each["specialist"] for each in listed} == {"ada/french"}
    verified = admin.get("/v1/audit/verify", params={"head": listed[0]["digest"]}).json()
    assert verified == {
        "object": "audit", "ok": True, "problems": [], "head": entry["digest"],
    }  # fmt: skip
    assert not admin.get("/v1/audit/verify?head=sha256:0").json()["ok"]
