"""What an owner sees: another's private specialist is the same as none, wherever one looks."""

import networkx as nx
import pytest
from old_release import rewind
from tiny_adapter import BASE, card, config, weights

from registry.errors import Conflict, InvalidCard, NotOwned, QuotaExceeded, RegistryError
from registry.quota import Quota
from registry.reference import parse_reference
from registry.registry import Registry
from registry.view import Visibility

PRIVATE, UNLISTED, PUBLIC = Visibility.PRIVATE, Visibility.UNLISTED, Visibility.PUBLIC
DATA = {"name": "tickets.jsonl", "digest": "sha256:" + "a" * 64}


def register(registry, name, visibility, seed=0, **fields):
    made = card(name, **({"tags": ["work"], "origins": {"datasets": [DATA]}} | fields))
    return registry.register(made, config(), weights(seed=seed), visibility=visibility)[0]


def told(ask, *words):
    """An answer or a refusal, to be compared."""
    try:
        found = ask(*words)
    except RegistryError as error:
        return type(error), str(error)
    return nx.to_dict_of_dicts(found) if isinstance(found, nx.DiGraph) else found


def everything(registry, names):
    """All that a registry answers about names."""
    tried = [f"{name}{which}" for name in names for which in ("", ":prod", ":latest", "@1")]
    return [
        *(told(registry.search, text, "work", None, 50) for text in (None, "coa")),
        *(told(call) for call in (registry.live, registry.count)),
        *(told(registry.named, name.partition("/")[2], 9) for name in names),
        *(told(registry.nearest, name) for name in names),
        *(told(registry.resolve, parse_reference(text)) for text in tried),
        *(told(registry.lineage.of, parse_reference(text)) for text in tried),
        *(told(registry.versions, name) for name in names),
        *(told(registry.aliases.of, name) for name in names),
        *(told(registry.aliases.canary, name) for name in names),
        *(told(registry.aliases.history, name, "prod") for name in names),
        *(told(call, name) for call in (registry.retire, registry.restore) for name in names),
        *(told(registry.show_to, name, PUBLIC) for name in names),
        *(told(registry.aliases.promote, f"{name}@1") for name in names),
        told(registry.lineage.standing_on, "dataset", "tickets.jsonl"),
        told(registry.lineage.standing_on, "base", "tiny"),
    ]  # fmt: skip


def test_anothers_private_specialist_is_the_same_as_none(registry, home, tmp_path):
    without = Registry.open(tmp_path / "without", BASE)
    for each in (registry, without):
        register(each, "ada/coach", PUBLIC)
    register(registry, "bob/coach", PRIVATE, origins={"parents": ["ada/coach@1"]})
    register(registry, "bob/coachman", PRIVATE)
    registry.aliases.try_out(f"bob/coach@{register(registry, 'bob/coach', None, 1).number}", 0)
    names = ["ada/coach", "bob/coach", "bob/coachman", "bob/coac", "bob/none", "eve/coach"]
    seen, expected = (
        everything(each.seen_by("eve"), names) for each in (registry, without)
    )  # fmt: skip
    # What differs between two registries in any case: when something was registered, and where.
    assert normal(seen, registry) == normal(expected, without)
    assert "bob/coach" in [live.id for live in registry.seen_by("bob").live()]
    without.close()


def normal(found, registry):
    version = registry.get("ada/coach")
    shown = str(found).replace(repr(version.created), "then").replace(repr(version.files), "files")
    [move] = registry.aliases.history("ada/coach", "prod")
    return shown.replace(repr(move.created), "then")


def test_a_parent_may_not_be_guessed(registry):
    register(registry, "bob/coach", PRIVATE)
    for parent in ("bob/coach@1", "bob/none@1"):
        with pytest.raises(InvalidCard, match="is not registered here"):
            register(registry.seen_by("eve"), "eve/x", PRIVATE, origins={"parents": [parent]})
    register(registry.seen_by("bob"), "bob/x", PRIVATE, origins={"parents": ["bob/coach@1"]})


@pytest.mark.parametrize("visibility", Visibility)
def test_an_owner_and_nobody_in_particular_see_all_of_it(registry, visibility):
    version = register(registry, "bob/coach", visibility)
    for seen in (registry, registry.seen_by("bob")):
        assert [live.id for live in seen.live()] == ["bob/coach"]
        assert (seen.count(), seen.named("coach", 3)) == (1, ["bob/coach"])
        assert seen.search("coach", "work", None, 9).data == [version]
        assert len(seen.lineage.standing_on("dataset", "tickets.jsonl")) == 3


@pytest.mark.parametrize(("visibility", "listed"), [(UNLISTED, []), (PUBLIC, ["bob/coach"])])
def test_what_is_unlisted_is_there_for_whoever_names_it(registry, visibility, listed):
    version = register(registry, "bob/coach", visibility)
    seen = registry.seen_by("eve")
    assert [live.id for live in seen.live()] == seen.named("coach", 3) == listed
    assert [found.id for found in seen.search(None, None, None, 9).data] == listed
    assert seen.nearest("bob/coachh") == listed
    assert len(seen.lineage.standing_on("dataset", "tickets.jsonl")) == 3 * len(listed)
    assert seen.get("bob/coach") == version
    assert len(seen.lineage.of(parse_reference("bob/coach"))) == 3


def test_nobody_changes_what_is_anothers(registry):
    register(registry, "bob/coach", PUBLIC)
    generation, seen = registry.generation(), registry.seen_by("eve")
    changes = [
        lambda: register(seen, "bob/coach", None, seed=1),
        lambda: seen.retire("bob/coach"),
        lambda: seen.restore("bob/coach"),
        lambda: seen.show_to("bob/coach", PRIVATE),
        lambda: seen.aliases.promote("bob/coach@1", "candidate"),
        lambda: seen.aliases.try_out("bob/coach@1", 0.1),
        lambda: seen.aliases.roll_back("bob/coach"),
        lambda: seen.aliases.remove("bob/coach", "candidate"),
        lambda: seen.aliases.arrange("bob/coach", "prod", protected=True),
    ]
    for change in changes:
        with pytest.raises(NotOwned, match="under 'eve/'"):
            change()
    assert registry.generation() == generation


def test_an_owner_registers_up_to_the_quota(registry):
    seen = registry.seen_by("bob", None, Quota(specialists=2))
    register(registry, "ada/other", PRIVATE)
    for name in ("bob/a", "bob/b"):
        register(seen, name, PRIVATE)
    with pytest.raises(QuotaExceeded, match="2 specialists"):
        register(seen, "bob/c", PRIVATE)
    register(seen, "bob/a", None, seed=1)
    seen.retire("bob/a")
    register(seen, "bob/c", PRIVATE)
    with pytest.raises(QuotaExceeded):
        seen.restore("bob/a")
    registry.restore("bob/a")


def test_an_owner_registers_up_to_so_many_bytes(registry):
    seen = registry.seen_by("bob", None, Quota(bytes=len(config()) + len(weights()) + 1))
    register(registry, "ada/other", PRIVATE)
    for seed in range(2):
        register(seen, "bob/a", None, seed=seed)
    with pytest.raises(QuotaExceeded, match="bytes"):
        register(seen, "bob/a", None, seed=2)
    assert register(seen, "bob/a", None, seed=1).number == 2
    register(registry, "bob/a", None, seed=2)


def test_visibility_is_that_of_the_specialist(registry):
    assert register(registry, "bob/coach", None).visibility == PRIVATE
    assert register(registry, "bob/coach", None, seed=1).visibility == PRIVATE
    with pytest.raises(Conflict, match="is private, not public"):
        register(registry, "bob/coach", PUBLIC, seed=2)
    assert registry.get("bob/coach").number == 2
    generation = registry.generation()
    registry.show_to("bob/coach", PUBLIC)
    assert [change.live.visibility for change in registry.changes(generation)] == [PUBLIC]
    assert registry.seen_by("eve").get("bob/coach").visibility == PUBLIC


@pytest.mark.sqlite
def test_everyone_finds_those_of_an_older_release(home):
    registry = Registry.open(home, BASE)
    register(registry, "bob/coach", PRIVATE)
    registry.close()
    rewind(home, "0008")
    registry = Registry.open(home, BASE)
    assert registry.get("bob/coach").visibility == PUBLIC
    registry.close()
