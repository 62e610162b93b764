"""Routes on disk are found as routes in memory are."""

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from registry.traits import Traits
from registry.version import Canary
from registry.view import Visibility
from router.routing import pack as packs
from router.routing.compact import Compact
from router.routing.filters import Filters
from router.routing.index import COARSE
from router.routing.pack import Pack
from router.routing.packing import merge, write
from router.routing.recent import Recent
from router.routing.route import Route
from router.routing.snapshot import Snapshot

DIMENSIONS = COARSE + 8
GENERAL = np.eye(1, DIMENSIONS, dtype=np.float32)


def rows(draw: np.random.Generator, count: int) -> Compact:
    return Compact.of(draw.normal(size=(count, DIMENSIONS)).astype(np.float32))


def made(number: int, seed: int = 0) -> Route:
    draw = np.random.default_rng([number, seed])
    return Route(
        f"{'ada' if number % 3 else 'b-b'}/s-{number}",
        int(draw.integers(1, 9)),
        f"sha256:{number}-{seed}",
        rows(draw, int(draw.integers(1, 20))),
        float(draw.integers(1, 10**9)),
        Canary(4, "sha256:c", 0.25) if number % 5 == 0 else None,
        list(Visibility)[number % 3],
        Traits(("tax", "straße") if number % 2 else (), ("en", "de")[number % 2], "mit"),
    )


def same(one: Route, other: Route) -> bool:
    names = ("specialist", "version", "digest", "since", "canary", "visibility", "traits")
    np.testing.assert_array_equal(one.vectors, other.vectors)
    return all(getattr(one, name) == getattr(other, name) for name in names)


def everything(part) -> np.ndarray:
    return np.ones(len(part.alive), dtype=bool)


def test_routes_come_back_as_they_were(tmp_path):
    routes = [made(number) for number in range(20)]
    pack = Pack(write(tmp_path, routes))
    assert pack.examples == sum(len(route.rows) for route in routes)
    for route in routes:
        assert same(pack.route(pack.number(route.specialist)), route)
    for name in ("ada/none", "ada/s-1x", "", "ada/s-1" + "0" * 200, "straße/x"):
        assert pack.number(name) is None


@pytest.mark.parametrize("mark", ["public", "owner:ada", "tag:straße", "language:de", "tag:none"])
def test_marks_are_those_of_routes_in_memory(tmp_path, mark):
    routes = [made(number) for number in range(30)]
    pack, recent = Pack(write(tmp_path, routes)), Recent(routes)
    for _ in range(2):
        found = {pack.route(number).specialist for number in np.flatnonzero(pack.having(mark))}
        expected = np.flatnonzero(recent.having(mark))
        assert found == {recent.route(number).specialist for number in expected}


@pytest.mark.parametrize("scanned", [packs.SCANNED, 4, 1])
def test_the_nearest_are_those_of_routes_in_memory(tmp_path, monkeypatch, scanned):
    """Whether few are scanned or many, and along a graph."""
    routes = [made(number) for number in range(150)]
    written = Pack(write(tmp_path, routes))
    monkeypatch.setattr(packs, "SCANNED", scanned)
    monkeypatch.setattr("router.routing.packing.SCANNED", scanned)
    pack, recent = Pack(merge(tmp_path, [written], 1)), Recent(routes)
    assert bool(pack._graphs) == (scanned < 4096)
    draw = np.random.default_rng(1)
    for _ in range(5):
        query = rows(draw, 1).floats()[0]
        found = pack.nearest(query, 8, 0.1, everything(pack))
        expected = recent.nearest(query, 8, 0.1, everything(recent))
        assert [pack.route(at).specialist for at, _ in found] == [
            recent.route(at).specialist for at, _ in expected
        ]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-5)


def test_what_may_not_be_chosen_is_not_found_and_hides_nobody(tmp_path, monkeypatch):
    """One route, far away, may be chosen: the graph would have to be asked for all."""
    monkeypatch.setattr("router.routing.packing.SCANNED", 1)
    pack = Pack(merge(tmp_path, [Pack(write(tmp_path, [made(n) for n in range(300)]))], 1))
    monkeypatch.setattr(packs, "SCANNED", 1)
    monkeypatch.setattr(packs, "MOST", 8)
    draw = np.random.default_rng(2)
    for allowed in (1, 70, 299):
        among = np.zeros(300, dtype=bool)
        among[draw.choice(300, allowed, replace=False)] = True
        found = pack.nearest(rows(draw, 1).floats()[0], 5, None, among)
        assert 0 < len(found) <= 5
        assert all(among[number] for number, _ in found)


class Merges(RuleBasedStateMachine):
    """Packs that routes leave, and that are put together, hold what a dict holds."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.held, self.packs, self.seed = {}, [], 0

    @rule(numbers=st.sets(st.integers(0, 30), min_size=1, max_size=8))
    def add(self, numbers):
        self.seed += 1
        routes = [made(number, self.seed) for number in numbers]
        names = [route.specialist for route in routes]
        self.packs = [pack.without(names) for pack in self.packs]
        self.packs.append(Pack(write(Path(self.folder.name), routes)))
        self.held |= {route.specialist: route for route in routes}

    @rule(numbers=st.sets(st.integers(0, 30), max_size=8))
    def leave(self, numbers):
        names = [made(number).specialist for number in numbers]
        self.packs = [pack.without(names) for pack in self.packs]
        for name in names:
            self.held.pop(name, None)

    @rule()
    def put_together(self):
        left = [pack for pack in self.packs if pack.alive.any()]
        self.packs = [Pack(merge(Path(self.folder.name), left, 1))] if left else []

    @rule()
    def open_again(self):
        self.packs = [Pack(pack.folder, pack.gone) for pack in self.packs]

    @invariant()
    def all_are_there(self):
        snapshot = Snapshot(1, [], GENERAL, kept=self.packs)
        assert len(snapshot) == len(self.held)
        routes = snapshot.routes
        assert [route.specialist for route in routes] == sorted(self.held)
        assert all(same(route, self.held[route.specialist]) for route in routes)
        tagged = snapshot.seen_by("ada", Filters(tags=frozenset({"tax"}))).routes
        assert [route.specialist for route in tagged] == [
            name
            for name in sorted(self.held)
            if "tax" in self.held[name].traits.tags
            and (name.startswith("ada/") or self.held[name].visibility == Visibility.PUBLIC)
        ]

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestMerges = Merges.TestCase
TestMerges.settings = settings(max_examples=40, stateful_step_count=15)


@settings(max_examples=15)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_a_snapshot_finds_the_same_in_memory_and_on_disk(moved, seed):
    routes = [made(number) for number in range(40)]
    with tempfile.TemporaryDirectory() as folder:
        kept = [Pack(write(Path(folder), routes[:moved]))] if moved else []
        parted = Snapshot(1, routes[moved:], GENERAL, kept=kept)
        whole = Snapshot(1, routes, GENERAL)
        query = rows(np.random.default_rng(seed), 1).floats()[0]
        found, expected = parted.nearest(query, 16, 0.1), whole.nearest(query, 16, 0.1)
        assert [each.specialist for each, _ in found] == [each.specialist for each, _ in expected]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-5)
        for route in routes:
            assert same(parted.find(route.specialist), route)
        renewed = made(3, 7)
        parted = parted.changed(2, {renewed.specialist: renewed, routes[4].specialist: None})
        assert same(parted.find(renewed.specialist), renewed)
        assert parted.find(routes[4].specialist) is None
        assert len(parted) == 39


@pytest.mark.parametrize("column", ["values", "ids", "rest_ends", "marked"])
@pytest.mark.parametrize("damage", [b"", b"x" * 200, None])
def test_what_is_not_whole_is_refused(tmp_path, column, damage):
    folder = write(tmp_path, [made(number) for number in range(9)])
    file = folder / f"{column}.npy"
    if damage is None:
        other = write(tmp_path, [made(number) for number in range(8)]) / file.name
        file.write_bytes(other.read_bytes())
    else:
        file.write_bytes(damage)
    with pytest.raises((OSError, ValueError)):
        Pack(folder)


def test_a_pack_that_is_not_finished_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr("router.routing.packing.inverted", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merge(tmp_path, [Pack(write(tmp_path, [made(1)]))], 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_graph_may_be_asked_from_many_threads(tmp_path, monkeypatch):
    monkeypatch.setattr("router.routing.packing.SCANNED", 1)
    monkeypatch.setattr(packs, "SCANNED", 1)
    pack = Pack(merge(tmp_path, [Pack(write(tmp_path, [made(n) for n in range(400)]))], 2))
    queries = rows(np.random.default_rng(3), 40).floats()
    expected = [pack.nearest(query, 5, None, everything(pack)) for query in queries]
    wrong = []

    def ask():
        for query, found in zip(queries, expected, strict=True):
            if pack.nearest(query, 5, None, everything(pack)) != found:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_routes_of_many_examples_are_not_lost_on_disk_either(tmp_path):
    routes = []
    for number in range(100):
        draw = np.random.default_rng(number)
        theme = draw.normal(size=DIMENSIONS)
        near = (theme + 0.3 * draw.normal(size=(200, DIMENSIONS))).astype(np.float32)
        routes.append(Route(f"ada/s-{number:03}", 1, f"sha256:{number}", Compact.of(near)))
    pack = Pack(write(tmp_path, routes))
    for number in (0, 50, 99):
        query = routes[number].vectors[0]
        assert pack.nearest(query, 16, 0.1, everything(pack))[0][0] == number
