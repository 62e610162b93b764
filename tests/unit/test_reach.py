"""Whether a database's server answers: what one thread finds out, all go by."""

from threading import Thread

import pytest

from registry.reach import AWAY_SECONDS, HURRY_SECONDS, PATIENCE_SECONDS, Reach


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("registry.reach.time.monotonic", lambda: now[0])
    return now


def test_who_finds_it_silent_keeps_the_others_from_waiting(clock):
    reach = Reach()
    reach.demand()
    assert reach.patience == PATIENCE_SECONDS
    reach.lost()
    with pytest.raises(TimeoutError, match="says nothing"):
        reach.demand()
    # Who waits already does so for no longer.
    assert reach.patience == HURRY_SECONDS
    clock[0] += AWAY_SECONDS
    reach.demand()
    assert reach.patience == PATIENCE_SECONDS


def test_what_a_writer_began_is_waited_for(clock):
    reach = Reach()
    with reach.writing():
        reach.lost()
        assert reach.patience == PATIENCE_SECONDS
        elsewhere = []
        thread = Thread(target=lambda: elsewhere.append(reach.patience))
        thread.start()
        thread.join()
        assert elsewhere == [HURRY_SECONDS]


def test_it_is_back_when_somebody_who_looks_has_an_answer(clock):
    reach = Reach()
    reach.lost()

    def in_vain():
        with reach.looking():
            reach.demand()
            assert reach.patience == HURRY_SECONDS
            raise TimeoutError

    with pytest.raises(TimeoutError):
        in_vain()
    assert reach.is_away
    with reach.looking():
        pass
    reach.demand()
