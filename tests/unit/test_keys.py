"""API keys: what is kept of them, and for how long they hold."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.archive import audit_log
from registry.errors import InvalidInput, UnknownKey
from registry.keys import Key, key_id
from registry.quota import Quota
from registry.scopes import Scope

SOON = datetime.now(UTC) + timedelta(days=1)


def test_a_key_is_shown_once_and_only_its_hash_is_kept(registry, home):
    assert not registry.keys.any()
    made, text = registry.keys.create("app", [Scope.INFER, Scope.READ], "ada", SOON)
    assert registry.keys.any()
    assert key_id(text) == made.id
    found = registry.keys.find(made.id)
    assert found == made
    assert (found.owner, found.scopes) == ("ada", {Scope.INFER, Scope.READ})
    assert found.expires == SOON
    assert found.fits(text)
    secret = text.rpartition(made.id)[2][1:]
    for file in home.iterdir():
        assert not file.is_file() or secret.encode() not in file.read_bytes()
    assert made.hash not in repr(made)


def test_another_key_does_not_fit(registry):
    made, text = registry.keys.create("app", [Scope.INFER], "ada")
    other, theirs = registry.keys.create("app", [Scope.INFER], "ada")
    assert made.id != other.id
    assert not made.fits(theirs)
    assert not made.fits(text[:-1] + ("a" if text[-1] != "a" else "b"))


def test_a_key_ends_by_being_revoked_or_by_its_time(registry):
    made, _ = registry.keys.create("app", [Scope.INFER], "ada")
    assert made.is_valid
    revoked = registry.keys.revoke(made.id)
    assert not revoked.is_valid
    assert registry.keys.revoke(made.id) == revoked == registry.keys.find(made.id)
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert not Key("a", "b", "c", frozenset(Scope), past, past, None, "").is_valid
    with pytest.raises(UnknownKey, match="nobody"):
        registry.keys.revoke("nobody")
    assert registry.keys.any()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"scopes": []}, "scopes"),
        ({"owner": None}, "owner"),
        ({"owner": None, "scopes": [Scope.METRICS, Scope.INFER]}, "owner"),
        ({"owner": "a/b"}, "owner"),
        ({"owner": "Ada"}, "owner"),
        ({"expires": datetime.now(UTC)}, "expires"),
    ],
)
def test_what_is_no_key_is_not_made(registry, change, param):
    with pytest.raises(InvalidInput) as caught:
        registry.keys.create(**{"name": "app", "scopes": [Scope.INFER], "owner": "ada"} | change)
    assert caught.value.param == param
    assert not registry.keys.any()


@pytest.mark.parametrize("scope", [Scope.ADMIN, Scope.METRICS])
def test_the_latest_key_comes_first_and_some_need_no_owner(registry, scope):
    first, _ = registry.keys.create("first", [Scope.INFER], "ada")
    last, _ = registry.keys.create("last", [scope])
    assert [key.name for key in registry.keys.list()] == ["last", "first"]
    assert registry.keys.list(limit=1) == [last]
    assert registry.keys.find(first.id) == first


@pytest.mark.sqlite
def test_who_did_it_is_in_the_audit_log(registry, home):
    made, text = registry.seen_by(None, "boss").keys.create("app", [Scope.INFER], "ada")
    registry.seen_by(None, "boss").keys.revoke(made.id)
    registry.keys.revoke(made.id)
    entries = audit_log(home, 9)
    assert [(entry.action, entry.details["by"]) for entry in entries] == [
        ("key.made", "boss"), ("key.revoked", "boss"),
    ]  # fmt: skip
    assert entries[0].details["key"] == made.id
    assert text not in str(entries)
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        (kept,) = connection.execute("SELECT hash FROM keys").fetchone()
    assert kept not in str(entries)


@given(st.text())
def test_any_text_is_read_without_harm(text):
    assert key_id(text) is None
    assert key_id(f"mk_{text}") is None or len(text) == 56


def test_a_key_has_a_quota(registry):
    quota = Quota(requests_per_minute=3, bytes=0)
    made, _ = registry.keys.create("app", [Scope.INFER], "ada", quota=quota)
    assert registry.keys.find(made.id).quota == quota
    assert registry.keys.create("app", [Scope.INFER], "ada")[0].quota == Quota()
