"""What was used is added up by day, key and whoever answered, and shown to whom it concerns."""

from collections import defaultdict
from datetime import date, datetime, timedelta

import pytest
from homes import open_registry
from hypothesis import given, settings
from hypothesis import strategies as st
from served import register

from registry import usage
from registry.errors import NotOwned, UnknownSpecialist
from registry.reference import parse_id
from registry.usage import KEPT, Account, Amount, By, Days

NOW = datetime(2026, 2, 3, 4, 5)
TODAY = NOW.date()
DAY = timedelta(days=1)
EVER = Days(TODAY - KEPT, TODAY + DAY)
ONE = Amount(1, 10, 4, 5)


@pytest.fixture(autouse=True)
def _no_midnight(monkeypatch):
    monkeypatch.setattr(usage, "now", lambda: NOW)


def used(registry, *by, owner=None, **only):
    """What an owner is shown: amounts by what they are told apart by."""
    wanted = {By(name): names for name, names in only.items()}
    lines = registry.seen_by(owner).ledger.used(EVER, by, wanted)
    return {tuple(getattr(line, each) for each in ("day", *by)): line.amount for line in lines}


def test_what_comes_later_is_added(registry):
    account = Account(TODAY, "ada/french", "k1", "ada")
    registry.ledger.note({account: ONE})
    registry.ledger.note({account: ONE, Account(TODAY, "base", "k1", "ada"): Amount(1, 2, 0, 3)})
    assert used(registry) == {(TODAY,): Amount(3, 22, 8, 13)}
    assert used(registry, By.MODEL) == {
        (TODAY, "ada/french"): Amount(2, 20, 8, 10),
        (TODAY, "base"): Amount(1, 2, 0, 3),
    }


accounts = st.builds(
    Account,
    day=st.integers(0, 3).map(lambda days: TODAY - days * DAY),
    model=st.sampled_from(["base", "ada/french", "bob/weather"]),
    key=st.sampled_from([None, "k1", "k2"]),
)
amounts = st.builds(Amount, *[st.integers(0, 10**9)] * 4)


@settings(max_examples=10, deadline=None)
@given(notes=st.lists(st.dictionaries(accounts, amounts, min_size=1), max_size=4))
@pytest.mark.parametrize("by", [(), (By.MODEL,), (By.KEY, By.OWNER), tuple(By)])
def test_sums_are_those_of_all_that_was_noted(tmp_path_factory, by, notes):
    registry = open_registry(tmp_path_factory.mktemp("home"))
    sums = defaultdict(Amount)
    for note in notes:
        owned = {
            Account(each.day, each.model, each.key, each.key and f"of-{each.key}"): amount
            for each, amount in note.items()
        }
        registry.ledger.note(owned)
        for account, amount in owned.items():
            sums[account.day, *(getattr(account, each) for each in by)] += amount
    assert used(registry, *by) == sums
    registry.close()


def test_an_owner_sees_what_their_keys_used_and_nobody_elses(registry):
    registry.ledger.note(
        {
            Account(TODAY, "bob/weather", "k1", "ada"): ONE,
            Account(TODAY, "bob/weather", "k2", "bob"): ONE,
            Account(TODAY, "bob/weather"): ONE,
        }
    )
    assert used(registry, By.KEY, owner="ada") == {(TODAY, "k1"): ONE}
    assert used(registry, By.KEY, owner="ada", key=["k2"]) == {}
    by_owner = used(registry, By.OWNER)
    assert by_owner == {(TODAY, owner): ONE for owner in ("ada", "bob", None)}


def test_a_specialists_owner_sees_what_all_used_of_it_in_one_sum(registry):
    register(registry, "bob/weather")
    registry.ledger.note(
        {
            Account(TODAY, "bob/weather", "k1", "ada"): ONE,
            Account(TODAY, "bob/weather", "k2", "bob"): ONE,
            Account(TODAY, "base", "k2", "bob"): ONE,
        }
    )
    [line] = registry.seen_by("bob").ledger.answered(parse_id("bob/weather"), EVER)
    assert (line.model, line.key, line.owner, line.amount) == ("bob/weather", None, None, ONE + ONE)
    with pytest.raises(NotOwned):
        registry.seen_by("ada").ledger.answered(parse_id("bob/weather"), EVER)
    with pytest.raises(UnknownSpecialist):
        registry.seen_by("bob").ledger.answered(parse_id("bob/none"), EVER)


def test_of_a_retired_one_what_was_used_is_still_known(registry):
    register(registry, "bob/weather")
    assert registry.ledger.answered(parse_id("bob/weather"), EVER) == []
    registry.ledger.note({Account(TODAY, "bob/weather"): ONE})
    registry.retire("bob/weather")
    assert len(registry.ledger.answered(parse_id("bob/weather"), EVER)) == 1


def test_the_last_day_of_a_span_is_not_in_it(registry):
    days = [TODAY - number * DAY for number in range(4)]
    registry.ledger.note({Account(day, "base"): ONE for day in days})
    lines = registry.ledger.used(Days(days[2], days[0]))
    assert [line.day for line in lines] == [days[2], days[1]]


def test_of_very_many_the_smallest_of_a_day_are_one_amount(registry, monkeypatch):
    monkeypatch.setattr(usage, "MOST", 2)
    sizes = {"a": 5, "b": 9, "c": 1, "d": 2, None: 7}
    for day in (TODAY, TODAY - DAY):
        registry.ledger.note(
            {Account(day, "base", key): Amount(1, size) for key, size in sizes.items()}
        )
    for day in (TODAY - DAY, TODAY):
        lines = registry.ledger.used(Days(day, day + DAY), [By.KEY])
        assert [(line.key, line.rest, line.amount) for line in lines] == [
            ("b", False, Amount(1, 9)),
            (None, False, Amount(1, 7)),
            (None, True, Amount(3, 8)),
        ]
    assert [line.amount.requests for line in registry.ledger.used(EVER)] == [5, 5]


def test_old_days_are_forgotten(registry):
    registry.ledger.note({Account(TODAY - KEPT, "base"): ONE})
    registry.ledger.note({Account(date(2020, 1, 1), "base"): ONE})
    registry.ledger.note({Account(TODAY, "base"): ONE})
    lines = registry.ledger.used(Days(date(2000, 1, 1), TODAY + DAY))
    assert [line.day for line in lines] == [TODAY - KEPT, TODAY]
