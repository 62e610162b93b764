"""Whom a request may be routed to, by its own wish."""

import numpy as np
import pytest
from hashed import HashedWords
from hypothesis import given
from hypothesis import strategies as st
from served import FRENCH, WEATHER, http_client, register, served, service

from registry.traits import Traits
from registry.view import Visibility
from router.routing.compact import Compact
from router.routing.filters import Filters, Options
from router.routing.policy import TIE, Policy
from router.routing.route import Route
from router.routing.snapshot import Snapshot

ENCODER = HashedWords()
OWNERS, TAGS, LANGUAGES, LICENSES = ("ada", "bob"), ("law", "tax"), ("en", "de"), ("", "mit")
VISIBILITIES = list(Visibility)
GENERAL = ENCODER.encode(["tell me about history"])


def some(values):
    return st.frozensets(st.sampled_from(values), max_size=2)


traits = st.builds(
    Traits, some(TAGS).map(tuple), st.sampled_from(LANGUAGES), st.sampled_from(LICENSES)
)
routes = st.lists(
    st.tuples(st.sampled_from(OWNERS), st.sampled_from(VISIBILITIES), traits), max_size=6
)
filters = st.builds(
    Filters,
    some(OWNERS),
    some(TAGS),
    some(LANGUAGES),
    some(LICENSES[1:]),
    some(["ada", "bob/s-1", "ada/s-0", "nobody/x"]),
)


def allowed(route: Route, owner: str | None, asked: Filters) -> bool:
    """The rule, said once more."""
    return (
        (owner in (None, route.owner) or route.visibility == Visibility.PUBLIC)
        and (not asked.owners or route.owner in asked.owners)
        and asked.tags <= set(route.traits.tags)
        and (not asked.languages or route.traits.language in asked.languages)
        and (not asked.licenses or route.traits.license in asked.licenses)
        and not {route.owner, route.specialist} & asked.blocked
    )


def snapshot(found) -> Snapshot:
    rows = Compact.of(ENCODER.encode(["a text"]))
    made = [
        Route(f"{owner}/s-{at}", 1, f"sha256:{at}", rows, 0.0, None, visibility, traits)
        for at, (owner, visibility, traits) in enumerate(found)
    ]
    return Snapshot(1, made, GENERAL)


@given(routes, filters, st.sampled_from([None, *OWNERS]), st.integers(0, 6))
def test_only_what_passes_is_looked_at(found, asked, owner, taken):
    # Some came later, and one is gone.
    later = snapshot(found).routes
    grown = snapshot([]).changed(2, {each.specialist: each for each in later})
    grown = grown.changed(3, {each.specialist: None for each in later[taken : taken + 1]})
    wanted = {each.specialist for each in grown.routes if allowed(each, owner, asked)}
    seen = grown.seen_by(owner, asked)
    assert {each.specialist for each in seen.routes} == wanted
    near = seen.nearest(ENCODER.encode(["a text"])[0], 10)
    assert {each.specialist for each, _ in near} == wanted
    assert len(seen) == len(wanted)


def test_an_older_snapshot_filters_as_it_was():
    first = snapshot([("ada", Visibility.PUBLIC, Traits(("law",)))])
    more = Route("bob/late", 1, "sha256:late", Compact.of(GENERAL), traits=Traits(("law",)))
    first.changed(2, {"bob/late": more})
    asked = Filters(tags=frozenset({"law"}))
    assert [each.specialist for each in first.seen_by(None, asked).routes] == ["ada/s-0"]


def decide(text: str, snapshot: Snapshot, options: Options):
    seen = snapshot.seen_by(None, options.filters)
    return Policy().asked(options).decide(seen, ENCODER, [text])


def twins() -> Snapshot:
    """Two of one sort, one of them a little nearer."""
    texts = ["weather forecast for paris", "rain and wind tomorrow"]
    near = ENCODER.encode(texts)
    less = near + 0.1 * ENCODER.encode(["unrelated"])
    less /= np.linalg.norm(less, axis=1, keepdims=True)
    made = [
        Route("ada/near", 1, "sha256:a", Compact.of(near)),
        Route("ada/less", 1, "sha256:b", Compact.of(less)),
    ]
    return Snapshot(1, made, GENERAL)


def test_the_preferred_one_goes_before_what_is_about_as_likely():
    text = "weather forecast for paris"
    plain = decide(text, twins(), Options(threshold=0.0))
    assert (plain.specialist, plain.rule) == ("ada/near", "likeliest")
    best, second = (each.score for each in plain.candidates)
    assert np.log(best / second) < TIE
    decision = decide(text, twins(), Options(preferred=frozenset({"ada/less"}), threshold=0.0))
    assert (decision.specialist, decision.rule) == ("ada/less", "preferred")
    assert decision.score == decision.candidates[0].score == second
    assert "It is preferred to ada/near" in decision.reason
    assert decision.margin < 0


def test_a_preference_decides_nothing_where_the_best_is_much_likelier_or_is_preferred_itself():
    both = twins()
    other = Route("bob/french", 1, "sha256:f", Compact.of(ENCODER.encode(FRENCH)))
    three = both.changed(2, {"bob/french": other})
    text = "weather forecast for paris"
    for wanted in ("bob", "ada/near", "ada", "nobody"):
        asked = Options(preferred=frozenset({wanted}), threshold=0.0)
        decision = decide(text, three, asked)
        assert (decision.specialist, decision.rule) == ("ada/near", "likeliest")


def test_a_preferred_one_that_is_not_likely_enough_takes_nothing_from_the_likeliest():
    text = "weather forecast for paris"
    highest = decide(text, twins(), Options(threshold=0.0)).evidence.fit
    asked = Options(preferred=frozenset({"ada/less"}), threshold=highest)
    assert decide(text, twins(), asked).specialist == "ada/near"


@pytest.fixture
def http(tmp_path):
    with service(tmp_path) as made:
        made.registry.retire("ada/french")
        sky = {"tags": ["Sky"], "language": "de", "license": "MIT"}
        register(made.registry, "ada/weather", examples=WEATHER, **sky)
        others = [f"{text} now" for text in WEATHER]
        register(made.registry, "bob/weather", 1, examples=others)
        made.follower.refresh()
        with (
            served(made) as url,
            http_client(url) as http,
        ):
            yield http


def routed(http, **options):
    answer = http.post("/v1/route", json={"input": WEATHER[0], "routing": options})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({"tags": ["SKY"]}, {"ada/weather"}),
        ({"languages": "DE"}, {"ada/weather"}),
        ({"languages": ["en"]}, {"bob/weather"}),
        ({"licenses": "mit"}, {"ada/weather"}),
        ({"owners": ["Bob"]}, {"bob/weather"}),
        ({"blocked": ["ada/weather"]}, {"bob/weather"}),
        ({"blocked": "bob"}, {"ada/weather"}),
        ({"owners": ["ada", "bob"], "tags": []}, {"ada/weather", "bob/weather"}),
    ],
)
def test_a_request_says_who_may_be_chosen(http, options, who):
    decision = routed(http, threshold=0, **options)
    assert {each["specialist"] for each in decision["candidates"]} == who
    assert decision["specialist"] in who


def test_where_nobody_passes_the_base_answers_and_it_is_said(http):
    decision = routed(http, tags=["nobody has it"])
    assert (decision["specialist"], decision["rule"]) == (None, "nothing passes")
    assert "filters" in decision["reason"]


def test_a_request_says_how_likely_a_specialist_must_be(http):
    assert routed(http, threshold=0)["rule"] == "likeliest"
    assert routed(http, threshold=1)["rule"] == "unlikely"


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"], ids=str
)
def test_every_way_to_ask_takes_the_options(http, path):
    asked = {"messages": [{"role": "user", "content": WEATHER[0]}]}
    asked = {"completions": {"prompt": WEATHER[0]}, "responses": {"input": WEATHER[0]}}.get(
        path.rpartition("/")[2] if "chat" not in path else "", asked
    )
    body = asked | {"model": "auto", "routing": {"owners": "bob", "threshold": 0}}
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["routing"]["specialist"] == "bob/weather"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ("yes", "routing"),
        ({"tag": ["a"]}, "routing.tag"),
        ({"tags": [1]}, "routing.tags[0]"),
        ({"tags": [""]}, "routing.tags[0]"),
        ({"tags": ["a"] * 65}, "routing.tags"),
        ({"threshold": 2}, "routing.threshold"),
        ({"threshold": "high"}, "routing.threshold"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_by_name(http, options, param):
    asked = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "routing": options}
    answer = http.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
