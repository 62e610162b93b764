"""What may be wanted soon is told to the engine, and loaded when nothing else is."""

import asyncio

import pytest
from engines import engine, make_adapters, run, sequence
from scripted import ScriptedEngine
from tiny import tiny_base

from router import hints
from router.hints import Hints
from router.routing.decision import Candidate, Decision
from specialists.engine.engine import EngineOptions


def decision(*scores, chosen=0):
    candidates = tuple(Candidate(f"a/{at}", 1, f"d{at}", score) for at, score in enumerate(scores))
    digest = None if chosen is None else candidates[chosen].digest
    return Decision(None, None, digest, None, "", candidates)


def told(work, engine=None):
    engine = engine or ScriptedEngine()

    async def all_told():
        made = Hints(engine)
        work(made)
        await asyncio.gather(*made._giving)

    asyncio.run(all_told())
    return engine.prefetched


def test_the_answerer_may_take_the_place_of_others_and_the_likely_others_may_not():
    def work(made):
        made.answerer(decision(0.6, 0.3, 0.05))
        made.runners_up(decision(0.6, 0.3, 0.05))
        made.answerer(decision(0.3, chosen=None))

    assert told(work) == [("d0", True), ("d1", False)]


def test_a_hint_is_given_again_only_after_a_while(monkeypatch):
    def work(made):
        for _ in range(3):
            made.answerer(decision(0.9))

    assert told(work) == [("d0", True)]
    monkeypatch.setattr(hints, "AGAIN", 0.0)
    assert len(told(work)) == 3


def test_an_engine_that_takes_no_hints_costs_nothing(caplog):
    class Broken(ScriptedEngine):
        async def prefetch(self, adapters, *, evicts):
            raise OSError("away")

    assert told(lambda made: made.answerer(decision(0.9)), Broken()) == []
    assert "takes no hints" in caplog.text


def test_hints_do_not_pile_up_where_the_engine_takes_none(monkeypatch):
    monkeypatch.setattr(hints, "AGAIN", 0.0)

    def work(made):
        for _ in range(100):
            made.answerer(decision(0.9))

    assert len(told(work)) == hints.AT_ONCE


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), {name: {} for name in "0123"})


def settle(made):
    """Step until nothing is on its way."""
    for _ in range(4):
        made.step()
        made._loads.wait()
    made.check_integrity()


@pytest.fixture
def two(base, adapters):
    """An engine with room for two adapters."""
    made = engine(base, adapters, EngineOptions(weights="float32", kv_bytes=1 << 20))
    made.prefetch("0", evicts=False)
    settle(made)
    made._slots.budget = 2 * made._slots.used
    yield made
    made.close()


def resident(made):
    return list(made._slots.resident())


def test_a_hint_is_loaded_though_nobody_asks(two):
    assert resident(two) == ["0"]
    two.prefetch("1", evicts=False)
    settle(two)
    assert resident(two) == ["0", "1"]
    row, _ = sequence(two, [5, 6, 7], "1", max_tokens=2)
    run(two)
    assert row.generated == 2


def test_only_who_will_likely_answer_takes_the_place_of_others(two):
    two.prefetch("1", evicts=False)
    settle(two)
    two.prefetch("2", evicts=False)
    settle(two)
    assert resident(two) == ["0", "1"]
    two.prefetch("2", evicts=True)
    settle(two)
    assert resident(two) == ["1", "2"]


def test_what_is_awaited_goes_first(two):
    for name in ("1", "2"):
        two.prefetch(name, evicts=True)
    row, _ = sequence(two, [5, 6, 7], "3", max_tokens=3)
    run(two)
    assert row.generated == 3
    # Two hints are followed, one after the other.
    for _ in range(3):
        settle(two)
    assert len(resident(two)) == 2


def test_a_pinned_adapter_stays(two):
    rows = [sequence(two, [5, 6, 7], name, max_tokens=30)[0] for name in ("0", "1")]
    settle(two)
    assert all(row.pinned for row in rows)
    two.prefetch("2", evicts=True)
    settle(two)
    assert resident(two) == ["0", "1"]
    run(two)


def test_a_hint_that_cannot_be_followed_is_forgotten(two, caplog):
    two.prefetch("nothing", evicts=True)
    settle(two)
    assert "could not be loaded beforehand" in caplog.text
    assert not two._loads._hints
    two.prefetch("1", evicts=True)
    settle(two)
    assert resident(two) == ["0", "1"]


def test_only_so_many_hints_are_remembered(two):
    for number in range(100):
        two._loads.hint(str(number), evicts=False)
    assert len(two._loads._hints) <= 16
