"""Near ties: decided by scores, by what is in memory, by prices, and by nothing beyond that."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import WEATHER, http_client, register, served, service
from test_router_filters import ENCODER, GENERAL

from registry.card import SamplingDefaults
from registry.traits import Traits
from router.routing.compact import Compact
from router.routing.policy import NEAR_TIE, Policy
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.ties import is_better, is_cheaper, winner

TEXT = "weather forecast for paris"
DATA, OTHER = "sha256:" + "d" * 64, "sha256:" + "e" * 64


def traits(value=None, price=None, metric="exact_match", data=DATA):
    return Traits(price=price, scores=() if value is None else ((metric, data, value),))


def catalogue(near: Traits, less: Traits, apart=0.01):
    """Two of one sort; the second is a little farther from the text."""
    rows = ENCODER.encode([TEXT, "rain and wind tomorrow"])
    moved = rows + apart * ENCODER.encode(["unrelated"])
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    first = Route("ada/near", 1, "sha256:a", Compact.of(rows), traits=near)
    second = Route("ada/less", 1, "sha256:b", Compact.of(moved), traits=less)
    return Snapshot(1, [first, second], GENERAL)


def decide(near=None, less=None, warm=(), apart=0.01, **policy):
    made = Policy(**({"threshold": 0.0, "warm": {*warm}.__contains__} | policy))
    return made.decide(catalogue(near or traits(), less or traits(), apart), ENCODER, [TEXT])


@pytest.mark.parametrize(
    ("near", "less", "warm", "rule", "said"),
    [
        (traits(0.8), traits(0.9), (), "quality", "held-out"),
        (traits(9.0, metric="perplexity"), traits(7.0, metric="perplexity"), (), "quality", "held"),
        (None, None, ["sha256:b"], "warmth", "in memory"),
        (traits(price=2.0), traits(price=1.5), (), "price", "costs less"),
        (traits(0.8, price=1.0), traits(0.9, price=2.0), ["sha256:a"], "quality", "held-out"),
        (traits(price=1.0), traits(price=2.0), ["sha256:b"], "warmth", "in memory"),
    ],
)
def test_other_evidence_decides_between_those_as_likely(near, less, warm, rule, said):
    decision = decide(near, less, warm)
    assert (decision.specialist, decision.rule) == ("ada/less", rule)
    assert [each.specialist for each in decision.candidates] == ["ada/less", "ada/near"]
    assert said in decision.reason
    assert "ada/near" in decision.reason


@pytest.mark.parametrize(
    ("near", "less", "warm"),
    [
        (traits(0.9), traits(0.9), ()),
        (traits(0.8), traits(0.9, data=OTHER), ()),
        (traits(0.8), traits(0.9, metric="token_f1"), ()),
        (traits(0.9), traits(0.8), ["sha256:b"]),
        (traits(0.9), traits(0.8, price=1.0), ()),
        (None, None, ["sha256:a", "sha256:b"]),
        (traits(price=1.0), traits(price=1.0), ()),
        (traits(), traits(price=0.0), ()),
    ],
)
def test_without_better_evidence_the_likeliest_answers(near, less, warm):
    decision = decide(near, less, warm)
    assert (decision.specialist, decision.rule) == ("ada/near", "likeliest")


def test_nothing_that_a_card_claims_outdoes_what_is_likelier():
    plain = decide(apart=0.2)
    best, second = (each.score for each in plain.candidates)
    assert np.log(best / second) > NEAR_TIE
    decision = decide(traits(0.0, price=9.0), traits(1.0, price=0.0), ["sha256:b"], apart=0.2)
    assert (decision.specialist, decision.rule) == ("ada/near", "likeliest")


def test_what_the_request_prefers_goes_before_all_of_it():
    asked = frozenset({"ada/near"})
    decision = decide(traits(0.8), traits(0.9), ["sha256:b"], preferred=asked)
    assert (decision.specialist, decision.rule) == ("ada/near", "likeliest")


def test_one_that_is_not_likely_enough_wins_nothing():
    highest = decide().evidence.fit
    decision = decide(traits(0.8), traits(0.9), threshold=highest)
    assert (decision.specialist, decision.rule) == ("ada/near", "likeliest")


scores = st.lists(
    st.tuples(
        st.sampled_from(["exact_match", "perplexity"]),
        st.sampled_from([DATA, OTHER]),
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=4,
    unique_by=lambda each: each[:2],
).map(tuple)
sampling = st.builds(
    SamplingDefaults, temperature=st.sampled_from([None, 0.0, 0.5]), stop=st.just(("END",))
)
some = st.builds(
    Traits,
    price=st.sampled_from([None, 0.0, 1.0]),
    scores=scores,
    license=st.just("mit"),
    sampling=st.none() | sampling,
)


@given(some, some)
def test_of_two_at_most_one_is_better_and_one_cheaper(one, other):
    assert not (is_better(one, other) and is_better(other, one))
    assert not (is_cheaper(one, other) and is_cheaper(other, one))
    assert not is_better(one, one)


@given(st.lists(some, min_size=1, max_size=5), st.sets(st.integers(0, 4)))
def test_who_wins_has_the_evidence_for_it(each, warm):
    route = Route("ada/a", 1, "", Compact.of(ENCODER.encode(["x"])))
    routes = [replace(route, digest=str(at), traits=has) for at, has in enumerate(each)]
    at, reason = winner(routes, lambda digest: int(digest) in warm)
    holds = {
        None: at == 0,
        "quality": is_better(each[at], each[0]),
        "warmth": at in warm and 0 not in warm,
        "price": is_cheaper(each[at], each[0]),
    }
    assert holds[reason]


@given(some)
def test_traits_are_read_as_they_were_written(each):
    assert Traits.stored(each.text) == each


def test_cards_and_engines_are_asked_over_http(tmp_path):
    with service(tmp_path) as made:
        made.registry.retire("bob/weather")
        register(made.registry, "ada/one", examples=WEATHER, price=2.0)
        other = register(made.registry, "ada/two", 1, examples=WEATHER, price=1.5)
        made.follower.refresh()
        with (
            served(made) as url,
            http_client(url) as http,
        ):
            body = {"input": WEATHER[0], "routing": {"threshold": 0}}
            cheaper = http.post("/v1/route", json=body).json()
            made.engine.held.add(other.digest)
            resident = http.post("/v1/route", json=body).json()
            card = http.get("/v1/specialists/ada/two").json()
    assert (cheaper["specialist"], cheaper["rule"]) == ("ada/two", "price")
    assert (resident["specialist"], resident["rule"]) == ("ada/two", "warmth")
    assert card["price"] == 1.5
