"""Keys on the command line: made and revoked at the home, sent by the commands."""

import io
import json

import pytest
from cli_world import Terminal, live, myriad

from deploy.errors import InvalidSetting
from deploy.home import opened_keys
from deploy.keyfile import KEYS, save_key, saved_key
from deploy.settings import read_settings
from deploy.up import _require_keys
from router import keyring

URL = "http://127.0.0.1:9"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    return tmp_path


def create(*words):
    return json.loads(myriad("keys", "create", *words, "--json").out)


def test_a_key_is_made_listed_and_revoked_at_the_home(home):
    assert myriad("keys", "list").out == "There are no keys.\n"
    made = create("app", "--owner", "ada", "--scope", "infer", "--days", "3", "--tokens", "500")
    assert (made["owner"], made["scopes"]) == ("ada", ["infer"])
    assert made["expires"] > made["created"]
    assert made["quota"] == {"tokens_per_minute": 500}
    told = myriad("keys", "create", "ops", "--scope", "admin").out
    assert "mk_" in told
    assert "cannot be shown again" in told
    assert "no key 'nobody'" in myriad("keys", "revoke", "nobody").err
    assert myriad("keys", "revoke", made["id"]).out == f"app ({made['id']}) is revoked\n"
    listed = myriad("keys", "list").out
    assert "revoked" in listed
    assert "mk_" not in listed
    assert [key["name"] for key in json.loads(myriad("keys", "list", "--json").out)] == [
        "ops",
        "app",
    ]


@pytest.mark.parametrize("words", [(), ("--owner", "A/b"), ("--scope", "root"), ("--days", "0")])
def test_what_is_no_key_is_not_made(home, words):
    assert myriad("keys", "create", "app", *words).code in (1, 2)
    assert json.loads(myriad("keys", "list", "--json").out) == []


def test_the_commands_send_a_key_from_the_environment_or_the_saved_one(home, monkeypatch):
    with live(home) as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        assert myriad("specialists", "list").code == 0
        made = create("app", "--owner", "ada")
        refused = myriad("specialists", "list")
        assert (refused.code, refused.err) == (
            1, "error: Send an API key: 'Authorization: Bearer mk_…'.\n",
        )  # fmt: skip
        assert "Send an API key" in myriad("status").out
        monkeypatch.setenv("MYRIAD_API_KEY", made["key"])
        assert myriad("specialists", "list").code == 0
        monkeypatch.delenv("MYRIAD_API_KEY")
        wrong = myriad("login", stdin=io.StringIO("mk_wrong\n"))
        assert wrong.code == 1
        assert not (home / KEYS).exists()
        assert myriad("login", stdin=io.StringIO(f"{made['key']}\n")).code == 0
        assert (home / KEYS).stat().st_mode & 0o777 == 0o600
        assert myriad("specialists", "list").code == 0


def test_a_person_is_asked_for_the_key(home, monkeypatch):
    monkeypatch.setattr("typer.prompt", lambda *_, hide_input: "mk_typed" if hide_input else "")
    ran = myriad("login", "--url", URL, stdin=Terminal())
    assert "nothing answers" in ran.err


def test_keys_are_kept_by_server(tmp_path):
    assert saved_key(tmp_path, URL) is None
    save_key(tmp_path, URL, "mk_a")
    save_key(tmp_path, "http://other", "mk_b")
    save_key(tmp_path, URL, "mk_c")
    assert (saved_key(tmp_path, URL), saved_key(tmp_path, "http://other")) == ("mk_c", "mk_b")


def test_a_file_that_others_can_read_is_not_used(home):
    file = save_key(home, URL, "mk_a")
    file.chmod(0o640)
    with pytest.raises(InvalidSetting, match="chmod 600"):
        saved_key(home, URL)
    assert "chmod 600" in myriad("specialists", "list", "--url", URL).err


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_file_that_is_no_such_file_is_named(home, content):
    file = save_key(home, URL, "mk_a")
    file.write_text(content)
    with pytest.raises(InvalidSetting, match=str(file)):
        saved_key(home, URL)


@pytest.mark.parametrize("text", ["", "mk_ä", "mk_a\x07"])
def test_what_is_no_key_is_not_sent(home, text):
    assert myriad("login", "--url", URL, stdin=io.StringIO(f"{text}\n")).code == 1
    assert not (home / KEYS).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_others_than_this_machine_need_keys(home, monkeypatch, host):
    monkeypatch.setenv("MYRIAD_HOST", host)
    settings = read_settings()
    with pytest.raises(InvalidSetting, match="myriad keys create"):
        _require_keys(settings)
    assert "is refused" in myriad("up").err
    create("ops", "--scope", "admin")
    _require_keys(settings)
    with opened_keys(home) as keys:
        keys.revoke(keys.list()[0].id)
    _require_keys(settings)
    assert ("127.0.0.1" in settings.server_url) == (host == "0.0.0.0")
