"""Where versions come from, in both directions."""

import pytest
from old_release import rewind
from tiny_adapter import BASE, card, config, weights

from registry import lineage as lineage_module
from registry.errors import InvalidCard, InvalidInput, UnknownSpecialist
from registry.lineage import version_node
from registry.reference import parse_reference
from registry.registry import Registry

DATA = "sha256:" + "a" * 64
SCORED = "sha256:" + "b" * 64
FAMILY = {"ada/root@1", "ada/left@1", "bob/right@1", "bob/leaf@1"}


@pytest.fixture
def made(registry):
    """Seeds of registrations that were made before."""
    return iter(range(1000))


def register(registry, made, name, **origins):
    fields = {"origins": origins} if origins else {}
    found = registry.register(card(name, **fields), config(), weights(seed=next(made)))
    return found[0]


def labels(graph):
    return {graph.nodes[node]["label"] for node in graph}


def edges(graph):
    name = {node: graph.nodes[node]["label"] for node in graph}
    return {(name[a], relation, name[b]) for a, b, relation in graph.edges(data="relation")}


def of(registry, text):
    return registry.lineage.of(parse_reference(text))


@pytest.fixture
def family(registry, made):
    """A grandparent, two children of it, a grandchild of one; one stranger."""
    tickets = {"name": "tickets.jsonl", "digest": DATA, "license": "cc-by-4.0"}
    register(registry, made, "ada/root", datasets=[tickets])
    register(registry, made, "ada/left", parents=["ada/root@1"], job="job-7")
    teacher = {"name": "big-llama", "license": "llama3.1"}
    register(registry, made, "bob/right", parents=["ada/root"], teachers=[teacher])
    register(registry, made, "bob/leaf", parents=["ada/left:prod"])
    register(registry, made, "eve/stranger", datasets=[{"name": "other.jsonl"}])
    return registry


def test_a_version_comes_from_what_its_card_says_and_its_base(family):
    graph = of(family, "bob/leaf")
    assert labels(graph) == {
        "bob/leaf@1", "ada/left@1", "ada/root@1", "tiny", "tickets.jsonl", "job-7",
    }  # fmt: skip
    assert edges(graph) == {
        ("ada/root@1", "parent", "ada/left@1"),
        ("ada/left@1", "parent", "bob/leaf@1"),
        ("tickets.jsonl", "dataset", "ada/root@1"),
        ("job-7", "job", "ada/left@1"),
        *(("tiny", "base", name) for name in ("ada/root@1", "ada/left@1", "bob/leaf@1")),
    }
    assert graph.graph["focus"] == version_node(family.get("bob/leaf").digest)


def test_what_stands_on_a_version_is_found_too(family):
    graph = of(family, "ada/root")
    assert labels(graph) >= {"ada/left@1", "bob/right@1", "bob/leaf@1", "big-llama"}
    assert "eve/stranger@1" not in labels(graph)


@pytest.mark.parametrize(
    ("relation", "subject", "expected"),
    [
        ("dataset", DATA, FAMILY),
        ("dataset", "tickets.jsonl", FAMILY),
        ("dataset", "other.jsonl", {"eve/stranger@1"}),
        ("teacher", "big-llama", {"bob/right@1"}),
        ("job", "job-7", {"ada/left@1", "bob/leaf@1"}),
        (
            "base",
            "tiny",
            {"ada/root@1", "ada/left@1", "bob/right@1", "bob/leaf@1", "eve/stranger@1"},
        ),
        ("dataset", "nothing", set()),
    ],
)
def test_what_stands_on_anything(family, relation, subject, expected):
    graph = family.lineage.standing_on(relation, subject)
    assert (graph.graph["focus"] in graph) == bool(expected)
    assert {name for name in labels(graph) if "@" in name} == expected


def test_aliases_say_what_is_live(family, made):
    family.register(card("bob/leaf"), config(), weights(seed=77), "candidate")
    focus = of(family, "bob/leaf:candidate")
    assert focus.nodes[focus.graph["focus"]]["aliases"] == ["candidate"]
    family.retire("bob/right")
    graph = family.lineage.standing_on("dataset", DATA)
    live = {graph.nodes[n]["label"]: graph.nodes[n].get("aliases") for n in graph}
    assert (live["bob/right@1"], live["ada/left@1"]) == ([], ["prod"])


def test_what_versions_were_scored_on_is_a_data_set(registry, made):
    scores = [{"metric": metric, "value": 1.0, "data": SCORED} for metric in ("f1", "exact")]
    registry.register(card("ada/scored", evaluation=scores), config(), weights())
    graph = registry.lineage.standing_on("dataset", SCORED)
    assert graph.graph["focus"] in graph
    assert (SCORED, "evaluation", "ada/scored@1") in edges(graph)


def test_a_parent_is_the_version_that_its_name_meant(registry, made):
    register(registry, made, "ada/root")
    register(registry, made, "ada/child", parents=["ada/root"])
    register(registry, made, "ada/root")
    assert "ada/root@1" in labels(of(registry, "ada/child"))
    assert "ada/root@2" not in labels(of(registry, "ada/child"))
    register(registry, made, "ada/child", parents=["ada/root:latest", "ada/child@1"])
    assert {"ada/root@2", "ada/child@1"} < labels(of(registry, "ada/child"))


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ("ada/nobody@1", "register it first"),
        ("ada/root@2", "first"),
        ("no name", "not a reference"),
    ],
)
def test_a_parent_that_is_not_there_is_refused_by_its_place(registry, made, parent, said):
    register(registry, made, "ada/root")
    with pytest.raises(InvalidCard, match=said) as caught:
        register(registry, made, "ada/child", parents=["ada/root", parent])
    assert caught.value.param == "card.origins.parents[1]"
    assert registry.count() == 1


def test_what_is_not_there_is_refused(family):
    with pytest.raises(UnknownSpecialist):
        of(family, "ada/nobody")
    with pytest.raises(InvalidInput, match="dataset"):
        family.lineage.standing_on("mother", "x")


def test_a_graph_has_an_end(family, monkeypatch):
    monkeypatch.setattr(lineage_module, "MOST", 2)
    graph = of(family, "ada/root")
    assert graph.graph["truncated"]
    assert sum(name.count("@") for name in labels(graph)) == 2
    assert family.lineage.standing_on("base", "tiny").graph["truncated"]


def test_more_than_one_statement_may_name(registry, made, monkeypatch):
    monkeypatch.setattr(lineage_module, "_AT_ONCE", 2)
    register(registry, made, "ada/root")
    for number in range(7):
        register(registry, made, f"ada/child-{number}", parents=["ada/root"])
    assert len([name for name in labels(of(registry, "ada/root")) if "child" in name]) == 7


@pytest.mark.sqlite
def test_versions_of_an_older_release_have_a_base_and_their_scores(home):
    registry = Registry.open(home, BASE)
    scores = [{"metric": "f1", "value": 1.0, "data": SCORED}]
    registry.register(card("ada/scored", evaluation=scores), config(), weights())
    registry.close()
    rewind(home, "0003")
    registry = Registry.open(home, BASE)
    assert edges(of(registry, "ada/scored")) == {
        ("tiny", "base", "ada/scored@1"), (SCORED, "evaluation", "ada/scored@1"),
    }  # fmt: skip
    registry.close()
