"""The tree of what there is."""

import pytest
from hashed import HashedWords
from hypothesis import example, given, settings
from hypothesis import strategies as st
from served import FRENCH, http_client, register, served, service

from registry.scopes import Scope
from registry.traits import Traits
from registry.view import Visibility
from router.routing import taxonomy as module
from router.routing.compact import Compact
from router.routing.pack import Pack
from router.routing.packing import write
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.taxonomy import taxonomy

ENCODER = HashedWords()
GENERAL = ENCODER.encode(["hello"])


def route(name: str, *tags: str, text: str = "a text", **fields) -> Route:
    rows = Compact.of(ENCODER.encode([text]))
    return Route(name, 1, f"sha256:{name}", rows, traits=Traits(tags), **fields)


def snapshot(*routes: Route) -> Snapshot:
    return Snapshot(1, routes, GENERAL)


def tree(shown: Snapshot, limit: int = 10) -> dict:
    """Names only: domain to niche to specialists."""
    return {
        domain.name: {niche.name: list(niche.specialists) for niche in domain.niches}
        for domain in taxonomy(shown, limit)
    }


LAW = [
    route("a/tax", "law", "tax"),
    route("a/vat", "law", "tax"),
    route("a/rent", "law", "rent"),
    route("a/lease", "rent", "law"),
    route("a/court", "law"),
]


def test_a_tag_lies_below_the_one_that_nearly_all_have_with_it():
    assert tree(snapshot(*LAW)) == {
        "law": {"rent": ["a/lease", "a/rent"], "tax": ["a/tax", "a/vat"], "": ["a/court"]}
    }


def test_whoever_leaves_the_broader_tag_out_is_found_below_it_all_the_same():
    # Four of five with the narrower tag have the broader one too.
    more = [route("a/t1", "law", "tax"), route("a/t2", "law", "tax"), route("b/forgot", "tax")]
    found = tree(snapshot(*LAW, *more))
    assert "b/forgot" in found["law"]["tax"] or "b/forgot" in found["law"][""]
    assert set(found) == {"law"}


def test_tags_that_nobody_else_has_make_no_niche():
    found = tree(snapshot(route("a/one", "x", "y"), route("a/two", "x", "z"), route("b/b", "q")))
    assert found == {"x": {"": ["a/one", "a/two"]}, "q": {"": ["b/b"]}}


def test_whoever_has_no_tags_joins_the_niche_that_its_examples_are_like():
    shown = snapshot(
        route("a/law", "law", text="sue my landlord in court"),
        route("b/cook", "food", text="bake a cake with butter"),
        route("c/none", text="bake butter cake"),
        route("d/none", text="quite another thing altogether"),
    )
    assert tree(shown) == {
        "food": {"": ["b/cook", "c/none"]},
        "law": {"": ["a/law"]},
        "other": {"": ["d/none"]},
    }


def test_without_any_tags_those_that_are_alike_are_grouped():
    cakes = [route(f"a/c{n}", text=f"bake a cake number {n}") for n in range(4)]
    courts = [route(f"b/l{n}", text=f"sue landlords in court{n}") for n in range(4)]
    found = tree(snapshot(*cakes, *courts))["other"]
    assert sorted(found.values()) == [
        [f"a/c{n}" for n in range(4)],
        [f"b/l{n}" for n in range(4)],
    ]
    assert {name.split("/")[0] for name in found} == {"like a", "like b"}


def test_what_is_private_is_neither_shown_nor_counted():
    hidden = route("b/secret", "hidden", "law", visibility=Visibility.PRIVATE)
    others = tree(snapshot(*LAW).seen_by("eve"))
    assert tree(snapshot(*LAW, hidden).seen_by("eve")) == others
    assert "b/secret" in str(tree(snapshot(*LAW, hidden).seen_by("b")))


def test_of_very_many_some_are_looked_at_and_counts_are_estimates(monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT", 10)
    shown = snapshot(*(route(f"a/n{n}", ("law", "food")[n % 2]) for n in range(90)))
    found = taxonomy(shown, 3)
    assert sum(domain.count for domain in found) == 90
    assert all(len(niche.specialists) <= 3 for domain in found for niche in domain.niches)


TAGS = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True).map(tuple)


@settings(max_examples=40)
@example([()] * 6, 1)
@given(st.lists(TAGS, max_size=12), st.integers(0, 12))
def test_everybody_has_one_place_in_memory_or_on_disk(tags, moved):
    import tempfile
    from pathlib import Path

    routes = [route(f"o{at}/s", *each, text=f"text {at % 3}") for at, each in enumerate(tags)]
    with tempfile.TemporaryDirectory() as folder:
        kept = [Pack(write(Path(folder), routes[:moved]))] if routes[:moved] else []
        parted = Snapshot(1, routes[moved:], GENERAL, kept=kept)
        found = taxonomy(parted, 100)
        placed = [name for domain in found for niche in domain.niches for name in niche.specialists]
        assert sorted(placed) == sorted(each.specialist for each in routes)
        assert all(domain.count == sum(n.count for n in domain.niches) for domain in found)
        assert found == taxonomy(Snapshot(1, routes, GENERAL), 100)


@pytest.fixture
def made(tmp_path):
    with service(tmp_path) as made:
        register(made.registry, "ada/letters", 3, examples=FRENCH, tags=["language", "letters"])
        made.registry.show_to("bob/weather", Visibility.PUBLIC)
        made.follower.refresh()
        yield made


@pytest.fixture
def http(made):
    with served(made) as url, http_client(url) as http:
        yield http


def test_the_tree_is_served(http):
    found = http.get("/v1/catalogue/tree").json()
    assert (found["object"], found["specialists"], found["estimated"]) == (
        "catalogue.tree",
        3,
        False,
    )
    [language, other] = found["domains"]
    assert (language["name"], language["count"]) == ("language", 2)
    assert other == {
        "name": "other",
        "count": 1,
        "niches": [{"name": "", "count": 1, "specialists": ["bob/weather"]}],
    }
    one = http.get("/v1/catalogue/tree", params={"domain": "language", "limit": 1}).json()
    assert [domain["name"] for domain in one["domains"]] == ["language"]
    assert len(one["domains"][0]["niches"][0]["specialists"]) == 1
    refused = http.get("/v1/catalogue/tree", params={"limit": -1})
    assert refused.json()["error"]["param"] == "limit"


def test_another_owners_eyes_see_what_is_theirs_and_public(made, http):
    _, key = made.registry.keys.create("x", [Scope.READ], "eve")
    headers = {"authorization": f"Bearer {key}"}
    found = http.get("/v1/catalogue/tree", headers=headers).json()
    assert found["specialists"] == 1
    assert "ada" not in str(found)
    assert [domain["name"] for domain in found["domains"]] == ["other"]
