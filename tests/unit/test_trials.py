"""A version on trial that does worse than the one in service is taken back by itself."""

import dataclasses
import sqlite3
from contextlib import closing

import homes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from old_release import rewind
from tiny_adapter import BASE, card, config, weights

from registry.archive import audit_log
from registry.errors import UnknownAnswer, UnknownSpecialist
from registry.rating import Rating
from registry.registry import Registry
from registry.trials import Guard, Tally
from router.answer_ids import Answered, AnswerIds

COACH = "ada/coach"
GUARD = Guard(margin=0.2, least=10)


@pytest.fixture
def digests(registry):
    """Of version 1, which is served, and of version 2, which half of the requests get."""
    for seed in range(2):
        registry.register(card(COACH), config(), weights(seed=seed))
    registry.aliases.roll_back(COACH)
    registry.aliases.try_out(f"{COACH}@2", 0.5, GUARD)
    return [head.digest for head in registry.versions(COACH)]


def fared(registry):
    return [dataclasses.astuple(record) for record in registry.aliases.trial(COACH)]


def rate(registry, digest, count, rating, named="a"):
    for number in range(count):
        prefix = digest[: len("sha256:") + 32]
        registry.trials.rate(f"chatcmpl-{named}{number}", prefix, rating)


def test_answers_are_added_up(registry, digests):
    served, tried = digests
    assert registry.trials.note({served: Tally(5, 1), tried: Tally(3, 0)}) == []
    assert registry.trials.note({served: Tally(2, 0), "sha256:unknown": Tally(9, 9)}) == []
    rate(registry, served, 3, Rating.GOOD)
    rate(registry, tried, 2, Rating.BAD, "b")
    rate(registry, tried, 1, Rating.GOOD, "b")
    assert fared(registry) == [(1, 7, 1, 3, 0), (2, 3, 0, 2, 1)]
    registry.aliases.try_out(f"{COACH}@2", 0.5, GUARD)
    assert fared(registry) == [(1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]
    registry.aliases.try_out(f"{COACH}@2", 0)
    assert fared(registry) == []


def test_one_whose_answers_fail_is_taken_back_and_it_says_so(registry, digests, home):
    served, tried = digests
    assert registry.trials.note({served: Tally(18, 2), tried: Tally(6, 3)}) == []
    [verdict] = registry.trials.note({tried: Tally(0, 1)})
    said = "Version 2 was taken back: 4 of 10 answers failed, 2 of 20 of version 1."
    assert verdict == f"{COACH}:prod: {said}"
    canary = registry.aliases.canary(COACH)
    assert (canary.number, canary.share, canary.verdict) == (2, 0.0, said)
    assert [live.canary for live in registry.live()] == [None]
    assert registry.changes(registry.generation() - 1)[0].live.canary is None
    assert audit_log(home, 1)[0].details == {
        "alias": "prod", "version": 2, "share": 0.0, "verdict": said,
    }  # fmt: skip
    assert registry.trials.note({tried: Tally(0, 9)}) == []
    registry.aliases.try_out(f"{COACH}@2", 0.1)
    assert registry.aliases.canary(COACH).verdict is None


def test_one_whose_answers_are_called_bad_is_taken_back(registry, digests):
    served, tried = digests
    rate(registry, served, 30, Rating.GOOD)
    rate(registry, tried, 9, Rating.BAD, "b")
    assert registry.aliases.canary(COACH).share == 0.5
    rate(registry, tried, 10, Rating.BAD, "b")
    assert "10 of 10 answers were called bad, 0 of 30" in registry.aliases.canary(COACH).verdict


def test_each_alias_has_a_trial_of_its_own(registry, digests):
    served, tried = digests
    with pytest.raises(UnknownSpecialist, match="candidate"):
        registry.aliases.try_out(f"{COACH}@2", 0.5, alias="candidate")
    registry.aliases.promote(f"{COACH}@2", "candidate")
    registry.aliases.try_out(f"{COACH}@1", 0.25, GUARD, alias="candidate")
    assert registry.aliases.canary(COACH, "candidate").share == 0.25
    [verdict] = registry.trials.note({tried: Tally(20, 0), served: Tally(0, 20)})
    assert verdict.startswith(f"{COACH}:candidate: Version 1 was taken back")
    assert registry.aliases.canary(COACH).share == 0.5
    registry.aliases.promote(f"{COACH}@1", "candidate")
    assert registry.aliases.canary(COACH, "candidate") is None
    assert registry.aliases.canary(COACH).share == 0.5


@pytest.mark.sqlite
def test_trials_of_an_older_release_are_those_of_prod(home):
    homes.fill(home)
    rewind(home, "0016")
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("INSERT INTO specialists (id, name) VALUES ('ada/x', 'x')")
        columns = "id, specialist, number, digest, kind, base, config, weights, card, created"
        connection.execute(
            f"INSERT INTO versions ({columns}) VALUES (1, 'ada/x', 1, 'd', 'lora', 'tiny', "
            "'c', 'w', '{}', '2026-01-01')"
        )
        connection.execute(
            "INSERT INTO canaries (specialist, version, share) VALUES ('ada/x', 1, 0.5)"
        )
    registry = Registry.open(home, BASE)
    assert registry.aliases.canary("ada/x").share == 0.5
    registry.close()


def test_ratings_from_before_the_trial_do_not_count(registry, digests):
    _, tried = digests
    rate(registry, tried, 9, Rating.BAD)
    registry.aliases.try_out(f"{COACH}@2", 0.5, GUARD)
    rate(registry, tried, 5, Rating.BAD, "b")
    assert registry.aliases.canary(COACH).share == 0.5


def test_who_changes_their_mind_is_counted_once(registry, digests):
    _, tried = digests
    for rating in (Rating.BAD, Rating.GOOD):
        rate(registry, tried, 5, rating)
    assert fared(registry)[1] == (2, 0, 0, 5, 0)
    with pytest.raises(UnknownAnswer, match="chatcmpl-x"):
        registry.trials.rate("chatcmpl-x", "sha256:" + "0" * 32, Rating.BAD)


@given(
    served=st.builds(Tally, st.integers(0, 50), st.integers(0, 50)),
    tried=st.builds(Tally, st.integers(0, 50), st.integers(0, 50)),
)
def test_it_is_taken_back_when_it_is_worse_by_the_margin_and_only_then(shared, served, tried):
    registry, (stable, canary) = shared
    registry.aliases.try_out(f"{COACH}@2", 0.5, GUARD)
    registry.trials.note({stable: served})
    registry.trials.note({canary: tried})
    before = served.failed / (served.answered + served.failed or 1)
    after = tried.failed / (tried.answered + tried.failed or 1)
    worse = tried.answered + tried.failed >= 10 and after > before + 0.2
    assert (registry.aliases.canary(COACH).share == 0) == worse


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    registry = Registry.open(tmp_path_factory.mktemp("home"), BASE)
    for seed in range(2):
        registry.register(card(COACH), config(), weights(seed=seed))
    registry.aliases.roll_back(COACH)
    yield registry, [head.digest for head in registry.versions(COACH)]
    registry.close()


@pytest.mark.sqlite
def test_ratings_of_an_older_release_are_kept(registry, home):
    version, _ = registry.register(card(COACH), config(), weights())
    registry.trials.rate("chatcmpl-1", version.digest, Rating.GOOD)
    registry.close()
    rewind(home, "0021")
    with closing(Registry.open(home, BASE)) as registry:
        registry.trials.rate_base("chatcmpl-2", Rating.BAD)
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        said = connection.execute("SELECT answer, version, rating FROM feedback").fetchall()
    assert said == [("chatcmpl-1", 1, "good"), ("chatcmpl-2", None, "bad")]


def test_all_who_open_it_have_one_secret(registry, home):
    other = Registry.open(home, BASE)
    assert other.trials.secret() == registry.trials.secret()
    assert len(registry.trials.secret()) == 32
    other.close()


def test_an_id_says_which_version_answered_and_cannot_be_made_up():
    digest = "sha256:" + "0123456789abcdef" * 4
    ids = AnswerIds(b"secret")
    made = ids.make("chatcmpl", digest)
    assert digest.startswith(ids.read(made).digest)
    assert len(ids.read(made).digest) == len("sha256:") + 32
    assert made != ids.make("chatcmpl", digest)
    assert AnswerIds(b"other").read(made) is None
    base = ids.make("chatcmpl", None)
    assert len(base) == len(made)
    assert ids.read(base) == Answered(None)
    for answer in made, base:
        for at in range(len("chatcmpl-"), len(answer)):
            changed = answer[:at] + ("0" if answer[at] != "0" else "1") + answer[at + 1 :]
            assert ids.read(changed) is None


@given(st.text())
def test_any_text_is_no_answer(text):
    assert AnswerIds(b"secret").read(text) is None
