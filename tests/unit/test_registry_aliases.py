"""Aliases: moved with what is known of them, rolled back, protected, and never forgotten."""

import dataclasses
import threading

import pytest
from old_release import rewind
from tiny_adapter import BASE, card, config, weights

from registry import moves
from registry.archive import audit_log
from registry.card import Evaluation
from registry.errors import (
    Conflict,
    InvalidInput,
    InvalidReference,
    NotOwned,
    UnknownSpecialist,
)
from registry.gates import Gate
from registry.reference import parse_reference
from registry.registry import Registry

COACH = "ada/coach"


@pytest.fixture
def aliases(registry):
    """Those of a specialist with three versions, the last of which is live."""
    for seed in range(3):
        registry.register(card(COACH), config(), weights(seed=seed))
    return registry.aliases


def where(aliases):
    return {alias.name: alias.number for alias in aliases.of(COACH)}


def history(aliases, alias="prod"):
    return [move.number for move in aliases.history(COACH, alias)]


def test_a_version_is_promoted_by_number_digest_or_another_alias(registry, aliases):
    aliases.promote(f"{COACH}@1")
    assert registry.get(COACH).number == 1
    second = registry.resolve(parse_reference(f"{COACH}@2"))
    aliases.promote(f"{COACH}@{second.digest}", "candidate")
    promoted = aliases.promote(f"{COACH}:candidate", reason="better on what customers ask")
    assert (promoted.name, promoted.number, promoted.digest) == ("prod", 2, second.digest)
    assert where(aliases) == {"candidate": 2, "prod": 2}
    assert history(aliases) == [2, 1, 3, 2, 1]
    assert aliases.history(COACH, "prod")[0].reason == "better on what customers ask"
    assert [move.number for move in aliases.history(COACH, "prod", limit=2)] == [2, 1]


def test_promoting_what_is_there_moves_nothing(registry, aliases):
    before = registry.generation()
    assert aliases.promote(f"{COACH}@3").number == 3
    assert registry.generation() == before
    assert history(aliases) == [3, 2, 1]


def test_rolling_back_again_goes_further_back(aliases):
    assert aliases.roll_back(COACH).number == 2
    assert aliases.roll_back(COACH, reason="worse still").number == 1
    with pytest.raises(Conflict, match="nothing before"):
        aliases.roll_back(COACH)
    assert history(aliases) == [1, 2, 3, 2, 1]


def test_after_a_rollback_a_promotion_is_what_is_rolled_back(aliases):
    aliases.roll_back(COACH)
    aliases.promote(f"{COACH}@1")
    assert aliases.roll_back(COACH).number == 2
    assert aliases.roll_back(COACH).number == 1


def test_who_expected_something_else_moves_nothing(aliases):
    for move in (
        lambda: aliases.promote(f"{COACH}@1", expected=2),
        lambda: aliases.promote(f"{COACH}@1", expected=0),
        lambda: aliases.promote(f"{COACH}@1", "candidate", expected=3),
        lambda: aliases.roll_back(COACH, expected=1),
        lambda: aliases.remove(COACH, "candidate", expected=1),
    ):
        with pytest.raises(Conflict, match="look at it again"):
            move()
    assert where(aliases) == {"prod": 3}
    aliases.promote(f"{COACH}@1", "candidate", expected=0)
    aliases.promote(f"{COACH}@1", expected=3)
    assert aliases.roll_back(COACH, expected=1).number == 3


def test_of_two_who_expect_the_same_one_moves_it(aliases):
    found = []
    ready = threading.Barrier(8)

    def move(number):
        ready.wait()
        try:
            found.append(aliases.promote(f"{COACH}@{1 + number % 2}", expected=3))
        except Conflict as error:
            found.append(error.code)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count("alias_moved") == 7
    assert len(history(aliases)) == 4


def test_a_protected_alias_moves_for_those_who_know_where_it_is(registry, aliases):
    assert aliases.arrange(COACH, "prod", protected=True).protected
    with pytest.raises(Conflict, match="'expected': 3"):
        aliases.promote(f"{COACH}@1")
    with pytest.raises(Conflict):
        aliases.roll_back(COACH)
    fourth, created = registry.register(card(COACH), config(), weights(seed=3))
    assert created
    assert registry.get(COACH).number == 3
    assert aliases.pointing(fourth.digest) == []
    aliases.promote(f"{COACH}@4", expected=3)
    assert not aliases.arrange(COACH, "prod", protected=False).protected
    aliases.promote(f"{COACH}@1", protected=True)
    assert [alias.protected for alias in aliases.of(COACH)] == [True]


def test_an_alias_is_taken_away_but_not_its_history(aliases):
    aliases.promote(f"{COACH}@2", "candidate", protected=True)
    with pytest.raises(Conflict):
        aliases.remove(COACH, "candidate")
    aliases.remove(COACH, "candidate", expected=2, reason="done")
    assert where(aliases) == {"prod": 3}
    assert history(aliases, "candidate") == [None, 2]
    with pytest.raises(UnknownSpecialist):
        aliases.remove(COACH, "candidate")
    with pytest.raises(InvalidInput, match="retire"):
        aliases.remove(COACH, "prod")
    assert not aliases.promote(f"{COACH}@1", "candidate").protected
    with pytest.raises(Conflict, match="nothing before"):
        aliases.roll_back(COACH, "candidate")


def test_a_retired_specialist_that_is_registered_again_begins_anew(registry, aliases):
    aliases.promote(f"{COACH}@2", "candidate", protected=True)
    registry.retire(COACH)
    for call in (aliases.of, aliases.roll_back, lambda name: aliases.history(name, "prod")):
        with pytest.raises(UnknownSpecialist):
            call(COACH)
    registry.register(card(COACH), config(), weights(seed=5))
    assert history(aliases) == [4, None, 3, 2, 1]
    assert history(aliases, "candidate") == [None, 2]
    assert [alias.protected for alias in aliases.of(COACH)] == [False]
    with pytest.raises(Conflict):
        aliases.roll_back(COACH)


@pytest.mark.parametrize(
    ("reference", "alias", "error"),
    [
        (f"{COACH}@9", "prod", UnknownSpecialist),
        (f"{COACH}:nothing", "prod", UnknownSpecialist),
        ("ada/nobody@1", "prod", UnknownSpecialist),
        (f"{COACH}@1", "latest", InvalidReference),
        (f"{COACH}@1", "No Alias", InvalidReference),
        (f"{COACH}@0", "prod", InvalidReference),
    ],
)
def test_what_is_not_there_cannot_be_promoted(aliases, reference, alias, error):
    with pytest.raises(error):
        aliases.promote(reference, alias)
    assert where(aliases) == {"prod": 3}


def test_a_rollback_does_not_leave_the_base(registry, tmp_path):
    other = Registry.open(tmp_path / "home", dataclasses.replace(BASE, name="other"))
    other.register(card(COACH), config(), weights())
    registry.register(card(COACH), config(), weights(seed=1))
    with pytest.raises(Conflict, match="another base"):
        registry.aliases.roll_back(COACH)
    assert where(registry.aliases) == {"prod": 2}
    other.close()


def test_a_reason_is_short(aliases):
    with pytest.raises(InvalidInput, match="500"):
        aliases.promote(f"{COACH}@1", reason="x" * 501)


def test_a_move_is_told_to_those_who_follow(registry, aliases):
    before = registry.generation()
    aliases.promote(f"{COACH}@1")
    (change,) = registry.changes(before)
    assert (change.id, change.live.number) == (COACH, 1)


@pytest.mark.sqlite
def test_aliases_of_an_older_release_get_their_first_move(tmp_path):
    home = tmp_path / "home"
    registry = Registry.open(home, BASE)
    for seed in range(2):
        registry.register(card(COACH), config(), weights(seed=seed))
    registry.close()
    rewind(home, "0002")
    registry = Registry.open(home, BASE)
    assert history(registry.aliases) == [2]
    registry.aliases.promote(f"{COACH}@1")
    assert registry.aliases.roll_back(COACH).number == 2
    registry.close()


@pytest.mark.sqlite
def test_those_an_older_release_retired_stay_so(tmp_path):
    home = tmp_path / "home"
    registry = Registry.open(home, BASE)
    registry.register(card(COACH), config(), weights())
    registry.register(card("ada/gone"), config(), weights())
    with registry._database.write() as connection:
        moves.take_away(connection, "ada/gone", "prod")
    registry.close()
    rewind(home, "0007")
    registry = Registry.open(home, BASE)
    with pytest.raises(UnknownSpecialist):
        registry.versions("ada/gone")
    registry.restore("ada/gone")
    assert [live.id for live in registry.live()] == [COACH]
    assert registry.aliases.promote("ada/gone@1").number == 1
    registry.close()


def scored(registry, seed, value):
    made = card(
        COACH, evaluation=[{"metric": "f1", "value": value, "base_value": 0.3, "data": "a"}]
    )
    return registry.register(made, config(), weights(seed=seed))[0]


def test_gates_hold_back_a_worse_version(registry):
    aliases = registry.aliases
    scored(registry, 1, 0.8)
    gates = (Gate(metric="f1"), Gate(metric="f1", at_least="base"))
    assert aliases.arrange(COACH, "prod", gates=gates).gates == gates
    worse = scored(registry, 2, 0.7)
    assert (worse.number, where(aliases)) == (2, {"prod": 1})
    with pytest.raises(Conflict, match=r"f1 is 0\.7, the current version has 0\.8"):
        aliases.promote(f"{COACH}@2")
    with pytest.raises(Conflict, match="override"):
        aliases.promote(f"{COACH}@2", override=True)
    aliases.promote(f"{COACH}@2", "candidate")
    better = scored(registry, 3, 0.9)
    assert where(aliases) == {"candidate": 2, "prod": better.number}
    aliases.promote(f"{COACH}@2", override=True, reason="the new ones are rude")
    first, second, *_ = aliases.history(COACH, "prod")
    assert first.reason == "the new ones are rude"
    assert "f1 is 0.7" in first.overridden
    assert second.overridden is None
    assert aliases.roll_back(COACH).number == 3
    assert aliases.arrange(COACH, "prod", gates=()).gates == ()
    aliases.promote(f"{COACH}@2")
    assert aliases.history(COACH, "prod")[0].overridden is None


def test_scores_may_come_later(registry, home):
    aliases = registry.aliases
    scored(registry, 1, 0.8)
    aliases.arrange(COACH, "prod", gates=[Gate(metric="f1"), Gate(metric="speed", at_least=3.0)])
    worse = scored(registry, 2, 0.7)
    reference = parse_reference(f"{COACH}@2")
    found = [Evaluation(metric="f1", value=0.9, base_value=0.4, rows=9, data="a")]
    registry.score(reference, found)
    with pytest.raises(Conflict, match="no held-out score of speed"):
        aliases.promote(f"{COACH}@2")
    registry.score(reference, [Evaluation(metric="speed", value=2.0)])
    registry.score(reference, [Evaluation(metric="speed", value=4.0, data="b")])
    registry.score(reference, [Evaluation(metric="speed", value=5.0)])
    assert [(each.metric, each.value, each.data) for each in registry.scores(worse)] == [
        ("f1", 0.9, "a"), ("speed", 5.0, None), ("speed", 4.0, "b"),
    ]  # fmt: skip
    assert aliases.promote(f"{COACH}@2").number == 2
    assert registry.get(COACH).card.evaluation[0].value == 0.7
    assert audit_log(home, 3)[0].details["metric"] == "speed"
    made_of = registry.lineage.of(reference)
    assert {"dataset a", "dataset b"} <= set(made_of)
    with pytest.raises(UnknownSpecialist):
        registry.score(parse_reference(f"{COACH}@9"), found)
    with pytest.raises(NotOwned):
        registry.seen_by("eve").score(reference, found)


def test_registering_under_a_closed_alias_leaves_no_trace(registry):
    scored(registry, 1, 0.8)
    registry.aliases.arrange(COACH, "prod", gates=[Gate(metric="f1")])
    other = card(COACH, evaluation=[{"metric": "f1", "value": 0.1, "data": "a"}])
    for arranged, code in ({}, "gate_closed"), ({"protected": True}, "alias_protected"):
        registry.aliases.arrange(COACH, "prod", **arranged)
        with pytest.raises(Conflict) as caught:
            registry.register(other, config(), weights(seed=2), "prod")
        assert caught.value.code == code
        assert [each.number for each in registry.versions(COACH)] == [1]
