from dataclasses import replace

import numpy as np
import pytest
from hashed import HashedWords
from served import FRENCH, WEATHER

from registry.view import Visibility
from router.routing.compact import Compact
from router.routing.copies import distinct
from router.routing.odds import NEAR_ALONE
from router.routing.policy import Policy
from router.routing.probe import Probe
from router.routing.refiner import settled
from router.routing.route import Route
from router.routing.snapshot import Snapshot

ENCODER = HashedWords()


def route(id: str, texts: list[str], version: int = 1) -> Route:  # noqa: A002
    return Route(id, version, f"sha256:{id}", Compact.of(distinct(ENCODER.encode(texts))))


GENERAL = ["tell me about history", "who was caesar", "thanks a lot"]
BASE = ENCODER.encode(GENERAL)
FILLERS = [
    "ok",
    "go",
    "on",
    "yes",
    "please",
    "and",
    "also",
    "more",
    "but",
    "that",
    "one",
    "too",
    "other",
    "then",
]
FOLLOW_UP = Probe(6 * np.sign(ENCODER.encode(FILLERS).sum(axis=0)), -8.0, "")
SNAPSHOT = Snapshot(
    7, [route("bob/weather", WEATHER, 3), route("ada/french", FRENCH)], BASE, FOLLOW_UP
)


def decide(*turns: str, snapshot: Snapshot = SNAPSHOT, **options):
    return Policy(**options).decide(snapshot, ENCODER, turns)


def test_the_nearest_specialist_answers_with_scores_and_reason():
    decision = decide("weather forecast for paris")
    assert (decision.specialist, decision.version) == ("bob/weather", 3)
    assert decision.digest == "sha256:bob/weather"
    assert decision.generation == 7
    assert [c.specialist for c in decision.candidates] == ["bob/weather", "ada/french"]
    assert decision.score == decision.candidates[0].score > decision.candidates[1].score
    assert f"bob/weather {decision.score:.2f}, the base 0.01" in decision.reason


def test_scores_are_probabilities_and_the_rest_is_the_bases():
    decision = decide("the weather forecast for bread in french")
    shares = [each.score for each in decision.candidates]
    assert all(0 < share < 1 for share in shares)
    base = float(decision.reason.rstrip(".").rpartition("the base ")[2])
    assert sum(shares) + base == pytest.approx(1, abs=0.01)


def test_the_base_answers_what_is_more_like_general_requests_and_shows_who_was_near():
    question = "tell me about history and weather"
    decision = decide(question)
    assert (decision.specialist, decision.version, decision.digest) == (None, None, None)
    assert [c.specialist for c in decision.candidates] == ["bob/weather", "ada/french"]
    assert decision.score == decision.candidates[0].score
    assert decision.evidence.fit < Policy().threshold
    assert "No specialist is likely enough: bob/weather 0.1" in decision.reason
    alone = Snapshot(7, SNAPSHOT.routes, ENCODER.encode(["xylophone"]))
    assert decide(question, snapshot=alone).specialist == "bob/weather"


def test_what_is_like_nothing_goes_to_the_base():
    question = "my weather station squeaks loudly when it spins around tonight"
    decision = decide(question)
    assert decision.specialist is None
    assert 0 < decision.score < Policy().threshold


@pytest.mark.parametrize(("more", "answers"), [(-0.001, "bob/weather"), (0.001, None)])
def test_the_threshold_is_what_the_best_must_reach_beside_the_base(more, answers):
    question = "the weather forecast for bread in french"
    fit = decide(question).evidence.fit
    assert decide(question, threshold=fit + more).specialist == answers


def test_two_that_fit_alike_do_not_hand_the_request_to_the_base():
    alike = [route("bob/weather", FORECASTS), route("bob/again", FORECASTS)]
    decision = decide("weather forecast for c", snapshot=Snapshot(1, alike, BASE))
    assert decision.specialist == "bob/again"
    assert decision.score == decision.candidates[1].score == pytest.approx(0.5, abs=0.01)


def test_what_is_no_nearer_than_general_requests_is_no_likelier_than_the_base():
    tied = Snapshot(1, [route("bob/weather", WEATHER)], ENCODER.encode(WEATHER))
    # Each product of two unit vectors is off by their length in units of rounding at most, and a
    # probability changes by a quarter of what its odds do.
    off = NEAR_ALONE * 2 * ENCODER.dimensions * 2**-24 / 4
    assert decide("weather in rome", snapshot=tied).evidence.fit == pytest.approx(0.5, abs=off)


def test_a_probe_decides_between_what_is_equally_near():
    alike = [route("bob/weather", FORECASTS), route("bob/again", FORECASTS)]
    vector = ENCODER.encode(["weather forecast for c"])[0]
    probes = {
        "bob/weather": Probe(3 * vector, 0, "sha256:bob/weather"),
        "bob/again": Probe(vector, 0, "sha256:bob/again"),
    }
    snapshot = Snapshot(1, alike, BASE).refined(probes)
    decision = decide("weather forecast for c", snapshot=snapshot)
    assert decision.specialist == "bob/weather"
    assert decision.candidates[0].score > 3 * decision.candidates[1].score


def test_a_follow_up_stays_with_the_turn_before_it():
    assert decide("and lunch also please").specialist is None
    followed = decide("translate dog into french", "and lunch also please")
    assert followed.specialist == "ada/french"
    assert "follows up on" in followed.reason


def test_the_last_message_alone_decides_when_it_can():
    decision = decide("translate dog into french", "weather forecast for lima")
    assert decision.specialist == "bob/weather"
    assert decide("translate dog into french", "weather forecast").specialist == "bob/weather"


@pytest.mark.parametrize("echoes", [("ok",), ("yes please",), ("ok", "go on", "Yes!")])
def test_an_echo_stays_with_who_answered(echoes):
    asked = ("weather forecast for lima", "translate dog into french")
    assert decide(*asked, *echoes).specialist == "ada/french"
    assert "follows up on" in decide(*asked, *echoes).reason
    other = "tell me who was caesar and about the long history of rome and all of its wars"
    assert decide(*asked, other, *echoes).specialist is None
    assert decide(*echoes).specialist is None


def test_a_specialist_stays_while_turns_follow_up_and_goes_when_the_topic_does():
    turns = ["translate dog into french", *["and lunch also please", "but more formal then"] * 6]
    assert decide(*turns).specialist == "ada/french"
    assert decide(*turns).evidence.read.startswith(turns[0])
    switched = [*turns, "weather forecast for lima", "and lunch also please"]
    assert decide(*switched).specialist == "bob/weather"
    long = "tell me who was caesar and about the long history of rome and all of its wars"
    assert decide(*turns, long, "and lunch also please").specialist is None


def test_what_says_nothing_of_its_own_stays_with_what_came_before():
    for asked, answers in (("translate dog into french", "ada/french"), ("who was caesar", None)):
        decision = decide(asked, "and that one too then")
        assert decision.specialist == answers
        assert ("follows up on" in decision.reason) == (answers is not None)
        assert decision.evidence.read == asked
    assert decide("and that one too then").specialist is None


def test_of_a_long_chat_only_what_matters_is_read():
    for turn, read in (("who was caesar", 1), ("weather forecast for paris", 1), ("yes please", 2)):
        ENCODER.encoded.clear()
        decide(*(f"tell me about history {n}" for n in range(60)), turn)
        assert len(set(ENCODER.encoded)) == read, turn


def test_what_fits_a_specialist_better_than_it_follows_up_is_its_own_request():
    asked = ("translate dog into french", "weather forecast for that other one")
    assert decide(*asked).specialist == "bob/weather"


def test_a_long_message_is_about_something_else():
    story = "once upon a time there lived a king who had three sons and no crown at all"
    assert decide("translate dog into french", story).specialist is None


@pytest.mark.parametrize("request_first", [True, False])
def test_a_long_message_is_read_at_both_its_ends(request_first):
    asked, filler = "weather forecast for paris please", " ".join(f"word{n}" for n in range(200))
    parts = [asked] * 8 + [filler] if request_first else [filler] + [asked] * 8
    assert decide(" ".join(parts)).specialist == "bob/weather"


def test_nothing_to_route_by_or_to_is_the_base():
    for turns in ((), ("",), (" \n",)):
        assert decide(*turns).specialist is None
        assert decide(*turns).score is None
    assert decide("hello", snapshot=Snapshot(0, [], BASE)).candidates == ()


def test_the_number_of_candidates_is_bounded():
    many = Snapshot(1, [route(f"a/{n}", WEATHER) for n in range(9)], BASE)
    assert len(decide("weather", snapshot=many).candidates) == 5


def test_a_change_makes_another_snapshot_and_leaves_the_old_one_alone():
    before = decide("weather forecast for paris")
    other = SNAPSHOT.changed(9, {"ada/french": None, "eve/poet": route("eve/poet", ["rhyme"])})
    assert [r.specialist for r in other.routes] == ["bob/weather", "eve/poet"]
    assert (other.generation, SNAPSHOT.generation) == (9, 7)
    assert [r.specialist for r in SNAPSHOT.routes] == ["ada/french", "bob/weather"]
    assert other.general is SNAPSHOT.general
    assert decide("weather forecast for paris") == before
    assert decide("rhyme", snapshot=other).specialist == "eve/poet"
    assert (other.find("ada/french"), other.find("eve/poet").version) == (None, 1)


def test_a_snapshot_that_is_not_the_newest_can_be_changed_too():
    first = Snapshot(1, [route("bob/weather", WEATHER)], BASE)
    left = first.changed(2, {"eve/poet": route("eve/poet", ["rhyme"])})
    right = first.changed(2, {"ada/french": route("ada/french", FRENCH), "bob/weather": None})
    assert [r.specialist for r in left.routes] == ["bob/weather", "eve/poet"]
    assert [r.specialist for r in right.routes] == ["ada/french"]
    assert len(first) == 1


def test_many_changes_do_not_pile_up():
    snapshot = Snapshot(0, [route("bob/weather", WEATHER)], BASE)
    for generation in range(1, 2500):
        snapshot = snapshot.changed(generation, {"a/b": route("a/b", ["rhyme"], generation)})
    assert len(snapshot.recent._routes) < 2100
    assert [(r.specialist, r.version) for r in snapshot.routes] == [
        ("a/b", 2499), ("bob/weather", 1)
    ]  # fmt: skip


def aged(id: str, texts: list[str], since: float) -> Route:  # noqa: A002
    return replace(route(id, texts), since=since)


FORECASTS = [f"weather forecast for {town}" for town in "abcdefghijkl"]
POPULAR = "weather forecast for paris on monday"


def test_one_example_that_equals_a_popular_request_does_not_capture_it():
    honest = route("bob/weather", [*WEATHER, *FORECASTS])
    for copies in (1, 8):
        thief = route("eve/thief", [POPULAR] * copies)
        decision = decide(POPULAR, snapshot=Snapshot(1, [honest, thief], BASE))
        assert decision.specialist == "bob/weather", copies


def test_another_owners_examples_gain_nothing():
    honest = aged("bob/weather", FORECASTS, since=1)
    thief = aged("eve/thief", [f"{text.upper()}!" for text in FORECASTS], since=2)
    for routes in ([honest, thief], [thief, honest]):
        decision = decide("weather forecast for c", snapshot=Snapshot(1, routes, BASE))
        assert decision.specialist == "bob/weather"
        assert [each.specialist for each in decision.candidates] == ["bob/weather"]


def test_ones_own_examples_may_be_used_again():
    first, second = aged("bob/weather", FORECASTS, 1), aged("bob/storms", FORECASTS, 2)
    decision = decide("weather forecast for c", snapshot=Snapshot(1, [first, second], BASE))
    assert decision.candidates[0].score == decision.candidates[1].score > 0.49


@pytest.mark.parametrize(
    ("visibility", "found", "named"),
    [
        (Visibility.PRIVATE, False, False),
        (Visibility.UNLISTED, False, True),
        (Visibility.PUBLIC, True, True),
    ],
)
def test_others_are_routed_to_what_is_public_alone(visibility, found, named):
    mine = replace(route("ada/secret", WEATHER), visibility=visibility)
    snapshot = SNAPSHOT.changed(8, {"ada/secret": mine})
    text = "weather forecast for lima"
    seen, without = snapshot.seen_by("eve"), SNAPSHOT.seen_by("eve")
    assert len(seen) == len(without) + found
    assert (seen.find("ada/secret") is not None) == named
    decision = decide(text, snapshot=seen)
    assert ("ada/secret" in str(decision)) == found
    if not found:
        assert replace(decision, generation=7) == decide(text, snapshot=without)
        routes = [[each.specialist for each in which.routes] for which in (seen, without)]
        assert routes[0] == routes[1]
    for owner in ("ada", None):
        assert "ada/secret" in str(decide(text, snapshot=snapshot.seen_by(owner)))


def test_where_all_is_anothers_there_is_nothing():
    mine = replace(route("ada/secret", WEATHER), visibility=Visibility.PRIVATE)
    seen = Snapshot(1, [mine], BASE).seen_by("eve")
    assert decide("weather in rome", snapshot=seen).reason == "No specialist is registered."


@pytest.mark.parametrize("others", range(6))
def test_those_that_say_the_same_go_by_their_names_however_sums_are_rounded(others):
    """Two of one owner's with the same examples, beside more and more others."""
    texts = [f"offer number {n} is low" for n in range(11)]
    more = [route(f"bob/n{n}", [f"{word} {n}" for word in WEATHER]) for n in range(others)]
    for both in (["acme/passing", "acme/coach"], ["acme/coach", "acme/passing"]):
        made = [route(both[0], texts), *more, route(both[1], texts)]
        for snapshot in (Snapshot(1, made, BASE), settled(Snapshot(1, made, BASE))):
            for asked in (*texts, "my offer is low", "number 3 offer"):
                candidates = decide(asked, snapshot=snapshot).candidates
                assert [each.specialist for each in candidates[:2]] == [
                    "acme/coach",
                    "acme/passing",
                ]
