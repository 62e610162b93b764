"""`myriad usage`: sums of many days, of whose keys and of which specialist."""

import json
from datetime import timedelta

import pytest
from cli_world import live, myriad

from registry import usage as ledger
from registry.clock import now
from registry.usage import Account, Amount

DAY = timedelta(days=1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path))
    with live(tmp_path) as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        yield server


def used(server, *amounts):
    """Put down what is told as (days ago, model, key, owner, tokens that were read)."""
    for ago, model, key, owner, read in amounts:
        account = Account(now().date() - ago * DAY, model, key, owner)
        server.registry.ledger.note({account: Amount(1, read, 1, 2)})


def rows(*words):
    """What is printed, by words; without what it is told apart by."""
    ran = myriad("usage", *words)
    assert ran.code == 0, ran.err
    return [line.split() for line in ran.out.splitlines()[1:]]


def test_nothing_was_used_at_first(server):
    assert myriad("usage").out == "Nothing was used.\n"


def test_sums_of_all_days_by_model_key_or_owner_the_largest_first(server):
    used(
        server,
        (0, "ada/coach", "k1", "ada", 1000),
        (40, "ada/coach", "k1", "ada", 2000),
        (1, "bob/pirate", "k2", "bob", 100_000),
        (29, "bob/pirate", None, None, 10),
    )
    assert rows() == [
        ["bob/pirate", "2", "100,010", "2", "4"],
        ["ada/coach", "1", "1,000", "1", "2"],
    ]
    assert rows("--days", "41")[1] == ["ada/coach", "2", "3,000", "2", "4"]
    assert [row[0] for row in rows("--by", "key")] == ["k2", "k1", "nobody's"]
    assert [row[0] for row in rows("--by", "owner", "--days", "2")] == ["bob", "ada"]


def test_those_that_are_not_told_apart_are_one_line(server, monkeypatch):
    monkeypatch.setattr(ledger, "MOST", 1)
    used(server, *((0, "ada/coach", f"k{read}", None, read) for read in (30, 1, 2)))
    assert rows("--by", "key") == [
        ["k30", "1", "30", "1", "2"],
        ["all", "others", "2", "3", "2", "4"],
    ]


def test_of_a_specialist_day_by_day(server):
    used(server, *((ago, "ada/coach", f"k{ago}", None, 7) for ago in (33, 2, 0)))
    days = [(now().date() - ago * DAY).isoformat() for ago in (33, 2, 0)]
    assert rows("ada/coach", "--days", "400") == [[day, "1", "7", "1", "2"] for day in days]
    buckets = json.loads(myriad("usage", "ada/coach", "--days", "3", "--json").out)
    assert [len(bucket["results"]) for bucket in buckets] == [1, 0, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ada/none",), "no specialist 'ada/none'"),
        (("not a name",), "owner/name"),
        (("ada/coach", "--by", "key"), "by day alone"),
        (("--days", "401"), "equal to 400"),
    ],
)
def test_what_cannot_be_shown_is_said(server, words, said):
    ran = myriad("usage", *words)
    assert ran.code
    assert said in ran.err
