"""Which engine replica answers: where it is soonest complete, by what the replicas measured."""

import hashlib
import sys
from collections import Counter
from dataclasses import replace
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.affinity import NEAR, SENT_SECONDS, Affinity
from deploy.nearby import SILENT_SECONDS
from specialists.engine.report import MARKS, Report, mark, marks

PACE = Report(capacity=8, step=0.02, row=0.001, load=0.2, answer=50.0)


def digest(number):
    return "sha256:" + hashlib.sha256(str(number).encode()).hexdigest()


DIGESTS = [digest(number) for number in range(400)]


def knowing(reports, **options):
    affinity = Affinity(**options)
    affinity.update(reports)
    return affinity


def idle(count, first=0):
    return {f"r{number}": PACE for number in range(first, first + count)}


def homes(affinity):
    return {each: affinity.ranked(each)[0] for each in DIGESTS}


def test_every_adapter_has_a_home_and_homes_are_spread():
    found = Counter(homes(knowing(idle(4))).values())
    assert len(found) == 4
    assert min(found.values()) > len(DIGESTS) / 4 * 0.7
    # Another router, which learnt of the replicas in another order, finds the same.
    assert homes(knowing(dict(reversed(idle(4).items())))) == homes(knowing(idle(4)))


def test_a_replica_that_comes_or_goes_moves_only_what_it_takes_or_had():
    before, after = homes(knowing(idle(4))), homes(knowing(idle(5)))
    moved = [each for each in DIGESTS if before[each] != after[each]]
    assert {after[each] for each in moved} == {"r4"}
    assert len(moved) < len(DIGESTS) / 5 * 1.4


def test_where_it_is_resident_comes_before_its_home():
    home = knowing(idle(4)).ranked(DIGESTS[0])[0]
    other = next(name for name in idle(4) if name != home)
    holding = {**idle(4), other: replace(PACE, resident=marks(DIGESTS[:1]))}
    assert knowing(holding).ranked(DIGESTS[0])[0] == other
    assert knowing(holding).ranked(DIGESTS[0], tried={other})[0] == home
    assert knowing(holding).ranked(DIGESTS[0], tried={other})[-1] == other


def test_one_that_said_nothing_comes_last_for_a_while():
    now = [0.0]
    affinity = Affinity(lambda: now[0])
    holding = {"a": Report(resident=marks(DIGESTS[:1])), "b": None}
    affinity.update(holding)
    affinity.silent("a")
    now[0] = SILENT_SECONDS - 1
    assert affinity.ranked(DIGESTS[0]) == ["b", "a"]
    now[0] = SILENT_SECONDS
    assert affinity.ranked(DIGESTS[0]) == ["a", "b"]
    affinity.silent("a")
    affinity.update({"b": None})
    affinity.update(holding)
    assert affinity.ranked(DIGESTS[0]) == ["a", "b"]


def test_a_hot_adapter_spreads_when_a_load_is_quicker_and_comes_home_when_it_cools():
    affinity, hot = knowing(idle(4)), DIGESTS[0]
    rows = dict.fromkeys(idle(4), 0)
    places = []
    for _ in range(24):
        places.append(affinity.ranked(hot, rows.__getitem__)[0])
        affinity.sent(hot, places[-1])
        rows[places[-1]] += 1
    # Each row beside costs 50 ms until an answer's end, a load 200 ms: it stays for four rows.
    assert places[:4] == [affinity.ranked(hot)[0]] * 4
    assert len(set(places)) >= 3
    rows = dict.fromkeys(rows, 0)
    assert affinity.ranked(hot, rows.__getitem__)[0] == places[0]


def test_what_everybody_asks_for_spreads_as_far_as_there_are_replicas():
    count = 5 * NEAR
    affinity, rows = knowing(idle(count)), dict.fromkeys(idle(count), 0)
    for _ in range(count * PACE.capacity):
        chosen = affinity.ranked(DIGESTS[0], rows.__getitem__)[0]
        affinity.sent(DIGESTS[0], chosen)
        rows[chosen] += 1
    assert max(rows.values()) <= PACE.capacity + 4
    assert min(rows.values()) > 0


def test_whoever_has_no_room_left_comes_after_those_who_have():
    full = {**idle(2), "r0": replace(PACE, rows=8, resident=marks(DIGESTS))}
    assert knowing(full).ranked(DIGESTS[0])[0] == "r1"
    # Short of pages is short of room, however few rows there are.
    short = {**idle(2), "r0": replace(PACE, rows=2, capacity=2, resident=marks(DIGESTS))}
    assert knowing(short).ranked(DIGESTS[0])[0] == "r1"


def test_a_load_that_evicts_counts_twice():
    home, other = knowing(idle(2)).ranked(DIGESTS[0])
    rows = {home: 0, other: 0}
    assert knowing({home: replace(PACE, full=True), other: PACE}).ranked(
        DIGESTS[0], rows.__getitem__
    )[0] == other  # fmt: skip


def test_a_noisy_measurement_moves_nothing():
    noisy = {
        name: replace(PACE, step=PACE.step * (1 + number / 50))
        for number, name in enumerate(idle(4))
    }
    assert homes(knowing(noisy)) == homes(knowing(idle(4)))


def test_the_base_is_at_home_everywhere():
    affinity = knowing(idle(4))
    assert len({affinity.ranked(None)[0] for _ in range(200)}) == 4
    busy = {"r0": 9, "r1": 9, "r2": 0, "r3": 9}
    assert affinity.ranked(None, busy.__getitem__)[0] == "r2"


def test_what_was_sent_counts_as_resident_for_a_while():
    now = [0.0]
    affinity = knowing(idle(2), clock=lambda: now[0])
    home, other = affinity.ranked(DIGESTS[0])
    affinity.sent(DIGESTS[0], other)
    assert affinity.ranked(DIGESTS[0])[0] == other
    now[0] = SENT_SECONDS + 1
    assert affinity.ranked(DIGESTS[0])[0] == home


def test_a_replica_that_has_said_nothing_yet_is_used():
    affinity = knowing({"r0": None})
    assert affinity.ranked(DIGESTS[0]) == ["r0"]
    assert knowing({}).ranked(DIGESTS[0]) == []


@given(
    st.integers(0, 3 * NEAR),
    st.sampled_from([None, *DIGESTS[:5]]),
    st.lists(st.integers(0, 40), min_size=3 * NEAR, max_size=3 * NEAR),
    st.sets(st.integers(0, 3 * NEAR)),
)
def test_all_replicas_are_ranked_once(count, adapter, rows, tried):
    affinity = knowing(idle(count))
    names = {f"r{number}" for number in tried}
    found = affinity.ranked(adapter, lambda name: rows[int(name[1:])], names)
    assert sorted(found) == sorted(idle(count))
    refused = [name in names for name in found]
    assert refused == sorted(refused)


def test_a_report_tells_the_last_adapters_in_few_bytes():
    report = Report(resident=marks(digest(number) for number in range(5000)))
    assert len(report.resident) == 8 * MARKS
    assert report.marks == {mark(digest(number)) for number in range(5000 - MARKS, 5000)}
    assert Report(**report.told()) == report


@pytest.mark.parametrize("count", [1, 2, 512])
def test_one_replica_and_many(count):
    assert len(knowing(idle(count)).ranked(DIGESTS[0])) == count


def sent_home(count, now):
    """Two replicas, and the adapters whose home is the first, where so many were asked for."""
    affinity = knowing(idle(2), clock=lambda: now[0])
    mine = [each for each in DIGESTS if affinity.ranked(each)[0] == "r0"]
    for each in mine[:count]:
        affinity.sent(each, "r0")
    return affinity, mine


def test_loads_that_are_under_way_are_waited_for():
    """A replica loads one adapter after the other: who sent it many sends the next elsewhere."""
    now = [0.0]
    affinity, mine = sent_home(3, now)
    assert affinity.ranked(mine[3])[0] == "r1"
    now[0] = 3 * PACE.load + 0.01
    assert affinity.ranked(mine[3])[0] == "r0"


def test_an_answer_tells_that_its_load_is_done():
    """Loads may be quicker than was thought; those behind it still take what a load takes."""
    now = [0.0]
    affinity, mine = sent_home(2, now)
    now[0] = 0.01
    affinity.answered(mine[0], "r0")
    assert affinity.ranked(mine[2])[0] == "r1"
    affinity.answered(mine[1], "r0")
    assert affinity.ranked(mine[2])[0] == "r0"
    # What is answered again, or was never sent from here, changes nothing.
    affinity.sent(mine[3], "r0")
    affinity.answered(mine[0], "r0")
    assert affinity.ranked(mine[2])[0] == "r1"
    now[0] += PACE.load
    assert affinity.ranked(mine[2])[0] == "r0"


def test_what_changes_is_followed_as_if_it_were_read_anew():
    moves = [
        {"a": replace(PACE, resident=marks(DIGESTS[:3])), "b": None},
        {"a": replace(PACE, resident=marks(DIGESTS[2:5])), "b": PACE},
        {"b": replace(PACE, resident=marks(DIGESTS[2:3])), "c": PACE},
        {"c": replace(PACE, resident=marks(DIGESTS[:2]))},
    ]
    followed = Affinity()
    for reports in moves:
        followed.update(reports)
        anew = knowing(reports)
        assert [followed.ranked(each) for each in DIGESTS[:6]] == [
            anew.ranked(each) for each in DIGESTS[:6]
        ]
        assert followed._holders == anew._holders


def test_serve_may_tell_of_replicas_while_requests_are_sent():
    affinity, stopped, switching = knowing(idle(8)), Event(), sys.getswitchinterval()

    def tell():
        held = [replace(PACE, resident=marks(DIGESTS[at : at + 300])) for at in (0, 100)]
        while not stopped.is_set():
            for at in range(8):
                affinity.update({**idle(8 - at % 3), f"r{at}": held[at % 2]})

    telling = Thread(target=tell)
    sys.setswitchinterval(1e-6)
    try:
        telling.start()
        for each in DIGESTS * 5:
            found = affinity.ranked(each)
            assert len(set(found)) == len(found) >= 6
            affinity.sent(each, found[0])
    finally:
        stopped.set()
        telling.join()
        sys.setswitchinterval(switching)
