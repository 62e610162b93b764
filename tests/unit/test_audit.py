"""The audit log: every change is in it, and no change to it goes unseen."""

import json
import sqlite3
from contextlib import closing

import pytest
from cli_world import myriad
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_adapter import BASE, card, config, weights

from registry.archive import audit_log, audit_problems, problems
from registry.errors import Conflict
from registry.gates import Gate
from registry.registry import Registry

COACH = "ada/coach"


@pytest.fixture
def home(tmp_path):
    registry = Registry.open(tmp_path, BASE)
    for seed in range(2):
        registry.register(card(COACH), config(), weights(seed=seed))
    registry.aliases.promote(f"{COACH}@1", expected=2, reason="calmer", protected=True)
    registry.aliases.arrange(COACH, "prod", gates=[Gate(metric="f1")])
    with pytest.raises(Conflict):
        registry.aliases.promote(f"{COACH}@2", expected=1)
    registry.aliases.promote(f"{COACH}@2", expected=1, override=True, reason="hurry")
    registry.retire(COACH)
    registry.restore(COACH)
    registry.retire(COACH)
    registry.close()
    return tmp_path


def test_every_change_is_noted_once_and_nothing_else(home):
    entries = audit_log(home, 100)
    digests = [entry.details.pop("digest") for entry in entries if "digest" in entry.details]
    assert len(set(digests)) == 2
    overridden = "It has no held-out score of f1."
    assert [(entry.action, entry.details) for entry in entries] == [
        ("version.registered", {"version": 1}),
        ("alias.moved", {"alias": "prod", "version": 1}),
        ("version.registered", {"version": 2}),
        ("alias.moved", {"alias": "prod", "version": 2}),
        ("alias.moved", {"alias": "prod", "version": 1, "reason": "calmer"}),
        ("alias.protected", {"alias": "prod", "protected": True}),
        ("alias.gated", {"alias": "prod",
                         "gates": [{"metric": "f1", "at_least": "current", "tolerance": 0.0}]}),
        ("alias.moved",
         {"alias": "prod", "version": 2, "reason": "hurry", "overridden": overridden}),
        ("specialist.retired", {}),
        ("specialist.restored", {}),
        ("specialist.retired", {}),
    ]  # fmt: skip
    assert [entry.seq for entry in entries] == list(range(1, 12))
    assert {entry.specialist for entry in entries} == {COACH}
    assert list(audit_problems(home, entries[4].digest)) == []
    assert [entry.seq for entry in audit_log(home, 2)] == [10, 11]
    assert audit_log(home, 9, "bob/nobody") == []


COLUMNS = {
    "created": "2020-01-01 00:00:00.000000",
    "action": "x",
    "specialist": "eve/x",
    "details": "{}",
    "digest": "sha256:0",
}


@pytest.mark.sqlite
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, 11), column=st.sampled_from([*COLUMNS, None]))
def test_any_change_to_it_is_found(home, seq, column):
    saved = (home / "registry.db").read_bytes()
    head = audit_log(home, 1)[0].digest
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        if column is None:
            connection.execute("DELETE FROM audit WHERE seq = ?", (seq,))
        else:
            statement = f"UPDATE audit SET {column} = ? WHERE seq = ?"
            connection.execute(statement, (COLUMNS[column], seq))
        unchanged = column == "details" and audit_details(connection, seq) == "{}" == DETAILS[seq]
    connection.close()
    found = list(audit_problems(home, head))
    (home / "registry.db").write_bytes(saved)
    assert len(found) == (0 if unchanged else 1)
    assert unchanged or f"Entry {seq} " in found[0] or "no entry" in found[0]


DETAILS = dict.fromkeys(range(1, 12), "") | dict.fromkeys(range(9, 12), "{}")


def audit_details(connection, seq):
    return connection.execute("SELECT details FROM audit WHERE seq = ?", (seq,)).fetchone()[0]


@pytest.mark.sqlite
def test_an_end_that_was_cut_off_is_found_by_who_kept_the_last_digest(home):
    head = audit_log(home, 1)[0].digest
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("DELETE FROM audit WHERE seq > 9")
    assert list(audit_problems(home)) == []
    assert "cut off" in next(audit_problems(home, head))


@pytest.mark.sqlite
def test_the_commands(home, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(home))
    assert "calmer" in myriad("audit", "list").out
    listed = json.loads(myriad("audit", "list", "--limit", "1", "--json").out)
    assert listed[0]["action"] == "specialist.retired"
    verified = json.loads(myriad("audit", "verify", "--json").out)
    assert verified == {"ok": True, "problems": [], "head": listed[0]["digest"]}
    assert "All 11 entries are whole" in myriad("audit", "verify").out
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE audit SET specialist = 'eve/x' WHERE seq = 3")
    broken = myriad("audit", "verify")
    assert (broken.code, "Entry 3 of the audit log" in broken.out) == (1, True)
    assert any("Entry 3" in each for each in problems(home))
    monkeypatch.setenv("MYRIAD_HOME", str(home / "nowhere"))
    nothing = myriad("audit", "verify")
    assert (nothing.code, "no registry yet" in nothing.err) == (1, True)
