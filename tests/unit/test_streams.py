"""Pieces of many streams leave side by side, and the fewer the more there are."""

from types import SimpleNamespace

import pytest

from specialists.engine import streams
from specialists.engine.streams import COALESCE_SECONDS, Streams


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(streams, "cores", lambda: 2)


def test_many_streams_send_fewer_pieces():
    some = Streams()
    assert some.interval == COALESCE_SECONDS
    with some.opened(30), some.opened(2):
        assert some.interval == pytest.approx(32 * 0.0004 / 0.05 / 2)
    with pytest.raises(KeyError), some.opened(99):
        raise KeyError
    assert some.interval == COALESCE_SECONDS


@pytest.mark.parametrize("now", [1000.01, 1000.1, 1000.12])
def test_pieces_of_all_streams_leave_side_by_side(monkeypatch, now):
    monkeypatch.setattr(streams, "time", SimpleNamespace(monotonic=lambda: now))
    some = Streams()
    with some.opened(32):
        leaves = (now + some.pause()) / some.interval
        assert leaves == pytest.approx(round(leaves))
        assert 0 < some.pause() <= some.interval
