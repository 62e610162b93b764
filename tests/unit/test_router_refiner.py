"""Probes follow from what is registered, not from the order or the moment it came in."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from hashed import HashedWords
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import HANGS

from registry.view import Visibility
from router.routing import refiner
from router.routing.compact import Compact
from router.routing.copies import distinct
from router.routing.index import centroid, score
from router.routing.policy import Policy
from router.routing.probe import Probe, fit
from router.routing.probe_store import ProbeStore, probe_store
from router.routing.refiner import Refiner, first_probes, first_task, neighbours
from router.routing.route import Route
from router.routing.snapshot import Snapshot

ENCODER = HashedWords()
TOPICS = [
    "weather rain forecast",
    "french translate word",
    "salary raise offer",
    "poem rhyme verse",
]
GENERAL = ENCODER.encode(
    ["tell me about history", "who was caesar", "thanks a lot", "what is a dog"]
)


def texts(topic: int, count: int = 9) -> list[str]:
    first, second, third = TOPICS[topic % len(TOPICS)].split()
    return [
        f"{first} {second} n{number}" if number % 2 else f"{third} n{number}"
        for number in range(count)
    ]


def route(id: str, topic: int = 0, count: int = 9, **fields) -> Route:  # noqa: A002
    rows = Compact.of(distinct(ENCODER.encode(texts(topic, count))))
    return Route(id, 1, f"sha256:{id}-{topic}", rows, **fields)


def refined(snapshot: Snapshot) -> Snapshot:
    current = [snapshot]
    worker_of(current).settle()
    return current[0]


def worker_of(current: list[Snapshot]) -> Refiner:
    """A refiner of the snapshot that a list holds."""

    def give(newer):
        current[0] = current[0].refined(newer)

    return Refiner(lambda: current[0], give)


def probes(snapshot: Snapshot) -> dict[str, Probe]:
    return {route.specialist: snapshot.probe(route) for route in snapshot.routes}


def as_numbers(snapshot: Snapshot) -> dict[str, list[float]]:
    return {id_: [each.bias, *each.weights] for id_, each in probes(snapshot).items()}


def test_a_probe_tells_its_examples_from_the_others():
    own, others = ENCODER.encode(texts(0)), ENCODER.encode(texts(1))
    probe = Probe(*fit(own, others), "")
    assert min(map(probe, own)) > 0 > max(map(probe, others))
    assert fit(own, others)[0].tolist() == probe.weights.tolist()


def test_a_probe_is_at_the_minimum_of_its_loss():
    """Against scipy-free brute force: no small step in any direction does better."""
    own, others = ENCODER.encode(texts(0)).astype(float), ENCODER.encode(texts(1)).astype(float)
    found = Probe(*fit(own.astype(np.float32), others.astype(np.float32)), "")

    def loss(weights: np.ndarray, bias: float) -> float:
        own_loss = np.log1p(np.exp(-(own @ weights + bias))).sum() * 10
        return (
            own_loss
            + np.log1p(np.exp(others @ weights + bias)).sum()
            + 0.17 / 2 * weights @ weights
        )

    best, draw = loss(found.weights, found.bias), np.random.default_rng(0)
    for size in (0.03, 0.3):
        for _ in range(20):
            step = draw.normal(size=len(found.weights) + 1) * size
            assert loss(found.weights + step[1:], found.bias + step[0]) > best


@pytest.mark.parametrize("count", [1, 8, 100])
def test_a_probe_is_fitted_in_few_products(monkeypatch, count):
    """None is spent on looking for what single precision does not tell: it took up to 129."""
    draw, asked, sigmoid = np.random.default_rng(3), [], scipy.special.expit
    rows = draw.normal(size=(1200 + count, 768))
    rows[:count] += draw.normal(size=768)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(scipy.special, "expit", lambda x: asked.append(x) or sigmoid(x))
    fit(rows[:count], rows[count:])
    assert 5 < len(asked) < 30


def test_every_route_has_a_probe_and_they_decide():
    snapshot = refined(Snapshot(1, [route(f"ada/n{n}", n) for n in range(4)], GENERAL))
    assert len(probes(snapshot)) == 4
    for topic in range(4):
        decision = Policy().decide(snapshot, ENCODER, [texts(topic)[3]])
        assert decision.specialist == f"ada/n{topic}"
        assert decision.score > 0.8


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=3))
def test_the_order_of_registration_leaves_no_trace(order, retired):
    routes = [route(f"ada/n{n}", n, since=float(n)) for n in range(6)]
    kept = [each for n, each in enumerate(routes) if n not in retired]
    expected = as_numbers(refined(Snapshot(1, kept, GENERAL)))
    current = [Snapshot(0, [], GENERAL)]
    worker = worker_of(current)
    steps = [{routes[n].specialist: routes[n]} for n in order]
    for change in [*steps, *({routes[n].specialist: None} for n in set(retired))]:
        current[0] = current[0].changed(current[0].generation + 1, change)
        worker.settle()
    assert as_numbers(current[0]) == expected


@pytest.mark.parametrize("hidden", [Visibility.PRIVATE, Visibility.UNLISTED])
def test_what_an_owner_hides_moves_nobody_elses_probes(hidden):
    public = [route(f"ada/n{n}", n) for n in range(3)]
    secret = route("eve/secret", 0, 12, visibility=hidden)
    without, beside = (refined(Snapshot(1, some, GENERAL)) for some in (public, [*public, secret]))
    expected = as_numbers(without)
    assert {key: value for key, value in as_numbers(beside).items() if key in expected} == expected
    assert len(probes(beside)) == 4


def test_neighbours_are_public_or_the_owners_own():
    routes = [
        route("ada/public", 0),
        route("ada/private", 1, visibility=Visibility.PRIVATE),
        route("ada/unlisted", 2, visibility=Visibility.UNLISTED),
        route("eve/private", 3, visibility=Visibility.PRIVATE),
        route("eve/public", 1),
    ]
    found = {
        each.specialist: {other.specialist for other in around}
        for each, around in zip(routes, neighbours(routes), strict=True)
    }
    assert found["ada/public"] == {"eve/public"}
    assert found["ada/private"] == {"ada/public", "ada/unlisted", "eve/public"}
    assert found["eve/private"] == {"ada/public", "eve/public"}


def test_the_nearest_are_the_neighbours(monkeypatch):
    monkeypatch.setattr(refiner, "NEIGHBOURS", 2)
    monkeypatch.setattr(refiner, "COARSE", 256)
    routes = [route(f"ada/n{n}", n) for n in range(8)]
    for each, around in zip(routes, neighbours(routes), strict=True):
        number = int(each.specialist[-1])
        assert around[0].specialist == f"ada/n{(number + 4) % 8}"
        assert len(around) == 2


def test_who_copied_everything_has_no_probe_and_takes_nothing():
    honest, thief = route("ada/honest", 0, since=1), route("eve/thief", 0, since=2)
    thief = replace(thief, digest="sha256:thief")
    alone = probes(refined(Snapshot(1, [honest], GENERAL)))["ada/honest"]
    both = refined(Snapshot(1, [honest, thief], GENERAL))
    assert probes(both)["eve/thief"].bias == -np.inf
    np.testing.assert_array_equal(probes(both)["ada/honest"].weights, alone.weights)
    decision = Policy().decide(both, ENCODER, [texts(0)[1]])
    assert decision.specialist == "ada/honest"


def test_only_what_is_near_a_change_is_fitted_anew(monkeypatch):
    monkeypatch.setattr(refiner, "NEIGHBOURS", 1)
    current = [Snapshot(1, [route(f"ada/n{n}", n) for n in (0, 1, 4, 5)], GENERAL)]
    worker = worker_of(current)
    worker.settle()
    before = probes(current[0])
    current[0] = current[0].changed(2, {"ada/n1": None})
    worker.settle()
    changed = {id_ for id_, probe in probes(current[0]).items() if probe is not before[id_]}
    assert changed == {"ada/n5"}


def test_the_thread_fits_what_comes_and_survives_a_failure(monkeypatch, caplog):
    snapshot = Snapshot(1, [route("ada/one", 0), route("ada/two", 1)], GENERAL)
    done, calls, real = threading.Event(), [], refiner.fit_route

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise ValueError("once")
        return real(*arguments)

    monkeypatch.setattr(refiner, "fit_route", failing)
    monkeypatch.setattr(refiner, "RETRY", 0)
    worker = Refiner(lambda: snapshot, lambda newer: done.set() if len(newer) == 2 else None)
    worker.start()
    worker.wake()
    assert done.wait(HANGS)
    worker.stop()
    assert "probes could not be fitted" in caplog.text


class Changes:
    """An event that is set as often as it is said, one time after the other."""

    def __init__(self, *found: bool) -> None:
        self.left = list(found)

    def wait(self, seconds: float | None = None) -> bool:
        return self.left.pop(0)

    def clear(self) -> None:
        pass

    def set(self) -> None:
        pass


@pytest.mark.parametrize(
    ("patience", "left"),
    [(HANGS, [True]), (0.0, [True, True, False, True])],
    ids=["until it is over", "not for ever"],
)
def test_a_burst_of_changes_is_waited_out(monkeypatch, patience, left):
    monkeypatch.setattr(refiner, "PATIENCE", patience)
    worker = Refiner(lambda: None, lambda _: None)
    worker._changed = Changes(True, True, True, False, True)
    worker._wait_for_a_change()
    assert worker._changed.left == left


def test_the_first_probe_of_a_new_route_is_the_one_it_keeps_where_it_has_few_neighbours():
    before = refined(Snapshot(1, [route(f"ada/n{n}", n) for n in range(3)], GENERAL))
    new = route("ada/new", 3)
    changed = before.changed(2, {"ada/new": new})
    [first] = first_probes(changed, [new]).values()
    settled = probes(refined(changed))["ada/new"]
    np.testing.assert_allclose(first.weights, settled.weights, atol=0.02)


def test_of_a_large_catalogue_those_have_probes_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(refiner, "MOST", 5)
    large = Snapshot(1, [route(f"ada/n{n}", n) for n in range(6)], GENERAL)
    current = [large]
    worker = worker_of(current)
    worker.settle()
    assert not any(probes(current[0]).values())
    asked = Policy().decide(large, ENCODER, [texts(2)[3]]).evidence.unprobed
    assert "ada/n2" in asked
    worker.want(["ada/n2", "nobody/here", "ada/n4"])
    worker.settle()
    fitted = {name for name, probe in probes(current[0]).items() if probe}
    assert fitted == {"ada/n2", "ada/n4"}
    [first] = first_probes(large, [large.find("ada/n2")]).values()
    assert probes(current[0])["ada/n2"].against == first.against
    left = Policy().decide(current[0], ENCODER, [texts(2)[3]]).evidence.unprobed
    assert not {"ada/n2", "ada/n4"} & set(left)


def test_whoever_may_be_meant_is_asked_for_whether_it_is_shown_or_not():
    alike = Snapshot(1, [route(f"ada/n{n}", 0) for n in range(3)], GENERAL)
    decision = Policy(candidates=1).decide(alike, ENCODER, [texts(0)[1]])
    assert len(decision.candidates) == 1
    assert set(decision.evidence.unprobed) == {"ada/n0", "ada/n1", "ada/n2"}


def test_a_new_route_is_told_apart_from_those_of_many_examples_first(monkeypatch):
    monkeypatch.setattr(refiner, "NEIGHBOURS", 1)
    new, few = route("ada/new", 0), route("eve/few", 0, 2)
    rows = Compact.of(ENCODER.encode([f"weather snow n{number}" for number in range(8)]))
    many = Route("bob/many", 1, "sha256:many", rows)
    centre = centroid(new.vectors)
    assert score(few.vectors, centre) > score(many.vectors, centre)
    assert first_task(Snapshot(1, [new, few, many], GENERAL), new).neighbours == (many,)


def test_a_catalogue_whose_routes_all_have_probes_is_not_fitted_for_who_asks():
    current = [Snapshot(1, [route("ada/one", 0)], GENERAL)]
    worker = worker_of(current)
    worker.want(["ada/one"])
    assert not worker._wanted


def test_only_so_many_probes_are_held(monkeypatch):
    monkeypatch.setattr("router.routing.snapshot.PROBES", 2)
    snapshot = Snapshot(1, [route(f"ada/n{n}", n) for n in range(3)], GENERAL)
    for each in snapshot.routes:
        snapshot = snapshot.refined(first_probes(snapshot, [each]))
    assert set(snapshot.probes) == {"ada/n1", "ada/n2"}


def test_a_retired_route_leaves_no_probe():
    snapshot = refined(Snapshot(1, [route("ada/one", 0), route("ada/two", 1)], GENERAL))
    fitted = probes(snapshot)
    left = snapshot.changed(2, {"ada/one": None})
    late = left.refined(fitted)
    assert set(left._probes) == set(late._probes) == {"ada/two"}


def test_another_version_does_not_take_the_probe_over():
    snapshot = refined(Snapshot(1, [route("ada/one", 0)], GENERAL))
    newer = replace(route("ada/one", 1), version=2)
    assert snapshot.changed(2, {"ada/one": newer}).probe(newer) is None


@pytest.fixture
def kept(tmp_path) -> ProbeStore:
    return ProbeStore(tmp_path / "probes", ENCODER.dimensions)


def settled(routes: list[Route], store: ProbeStore) -> Snapshot:
    current = [Snapshot(1, routes, GENERAL)]

    def give(newer):
        current[0] = current[0].refined(newer)

    Refiner(lambda: current[0], give, store).settle()
    return current[0]


def test_a_second_start_fits_nothing_but_what_changed(kept, monkeypatch):
    monkeypatch.setattr(refiner, "NEIGHBOURS", 1)
    routes = [route(f"ada/n{n}", n) for n in (0, 1, 4, 5)]
    first = as_numbers(settled(routes, kept))
    fitted, real = [], refiner.fit_route

    def watched(task, general):
        fitted.append(task.route.specialist)
        return real(task, general)

    monkeypatch.setattr(refiner, "fit_route", watched)
    assert as_numbers(settled(routes, kept)) == first
    assert fitted == []
    settled([each for each in routes if each.specialist != "ada/n1"], kept)
    assert fitted == ["ada/n5"]


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_a_damaged_probe_is_fitted_anew(kept, damage, tmp_path):
    routes = [route("ada/one", 0), route("ada/two", 1)]
    first = as_numbers(settled(routes, kept))
    for file in tmp_path.rglob("*.probe"):
        content = file.read_bytes()
        nan = np.full((len(content) - 32) // 4, np.nan, "<f4").tobytes()
        file.write_bytes(content[:32] + nan if damage is None else damage)
    assert as_numbers(settled(routes, kept)) == first


def test_a_folder_that_cannot_be_used_costs_only_the_fitting(tmp_path, caplog):
    (tmp_path / "file").touch()
    snapshot = settled([route("ada/one", 0)], ProbeStore(tmp_path / "file", ENCODER.dimensions))
    assert snapshot.probe(snapshot.routes[0]) is not None
    assert "cannot be written" in caplog.text


def test_probes_are_kept_by_all_that_they_follow_from(tmp_path, monkeypatch):
    before = probe_store(ENCODER, tmp_path)._folder
    assert probe_store(HashedWords(), tmp_path)._folder == before
    assert probe_store(HashedWords(64), tmp_path)._folder != before
    monkeypatch.setattr("router.routing.probe_store.PENALTY", 1.0)
    assert probe_store(ENCODER, tmp_path)._folder != before
    assert probe_store(ENCODER, None)._folder is None
