"""Which engine replica answers a generation: the one where it is likely complete soonest.

A replica's cost is a number of seconds: until a row is free, until the adapter is resident (behind
others that were sent there and have to be loaded), and for the answer itself beside those that run
there, all as the replicas measured them. Equal costs are told apart by rendezvous hashing (Thaler
and Ravishankar, 1998), which gives every adapter an order of the replicas of its own. So an adapter
has a home without anybody having chosen it; one that is asked for so often that its home is slower
than a load elsewhere spreads to the next in its order, and when it is asked for less the copies are
no longer used and make room. A replica that comes or goes changes the home of those adapters alone
whose home it becomes or was.
"""

import hashlib
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from statistics import median
from threading import Lock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deploy.backlog import Backlog
from deploy.nearby import SILENT_SECONDS
from specialists.engine.report import Report, mark

NEAR = 8
"""Replicas, the first in the adapter's order, that are looked at beside those that hold it; and as
many more as hold it, so that what is asked for everywhere finds no end."""
SENT_SECONDS = 10.0
"""For so long an adapter counts as resident where it was asked for, whatever reports say."""
SENT = 10_000
NOTHING = Report()


@dataclass(frozen=True, slots=True)
class _Pace:
    """What replicas of one kind take, in seconds: their median, since each measures with noise."""

    step: float
    row: float
    load: float
    answer: float


class Affinity:
    """Orders replicas for an adapter. For any thread: Serve tells of replicas in one of its own."""

    latest: "ClassVar[Affinity | None]" = None
    """The one by which this process sends its requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know no replica so far."""
        self._clock = clock
        self._lock = Lock()
        self._reports: dict[str, Report] = {}
        self._names: list[str] = []
        self._hashes = np.empty(0, np.uint64)
        self._holders: defaultdict[int, set[str]] = defaultdict(set)
        self._sent: OrderedDict[tuple[int, str], float] = OrderedDict()
        self._backlogs: defaultdict[str, Backlog] = defaultdict(Backlog)
        self._pace = _pace([])
        self._silent: dict[str, float] = {}

    def update(self, reports: Mapping[str, Report | None]) -> None:
        """Take in which replicas there are, and what each said last; None has said nothing yet.

        The work is that of the changes: with many replicas one of them changes all the time.
        """
        with self._lock:
            self._compare({name: report or Report() for name, report in reports.items()})
            self._pace = _pace([report for report in reports.values() if report is not None])
            if self._names != list(self._reports):
                self._names = list(self._reports)
                for gone in self._silent.keys() - reports.keys():
                    del self._silent[gone]
                self._hashes = np.array([_hashed(name) for name in self._names], np.uint64)

    def sent(self, adapter: str, replica: str) -> None:
        """A request for an adapter went to a replica, where it will soon be resident."""
        key, now = mark(adapter), self._clock()
        with self._lock:
            if replica not in self._holding(key):
                self._backlogs[replica].add(key, now, self._pace.load)
            self._sent[key, replica] = now + SENT_SECONDS
            self._sent.move_to_end((key, replica))
            while len(self._sent) > SENT:
                self._sent.popitem(last=False)

    def answered(self, adapter: str, replica: str) -> None:
        """A replica has begun to answer for an adapter, which therefore is loaded."""
        with self._lock:
            if (backlog := self._backlogs.get(replica)) is not None:
                backlog.answered(mark(adapter), self._clock(), self._pace.load)

    def silent(self, replica: str) -> None:
        """A replica said nothing when it was asked: for a while it comes last."""
        with self._lock:
            self._silent[replica] = self._clock() + SILENT_SECONDS

    def holds(self, adapter: str) -> bool:
        """Whether a replica reports an adapter as resident."""
        return mark(adapter) in self._holders

    def visits(self, name: str) -> int:
        """A replica's rows that came by its socket, by its report."""
        return self._reports.get(name, NOTHING).visits

    def calls(self, name: str) -> int:
        """A replica's rows that came by Serve, by its report."""
        report = self._reports.get(name, NOTHING)
        return max(report.rows - report.visits, 0)

    def ranked(
        self,
        adapter: str | None,
        rows: Callable[[str], int | None] = lambda _: None,
        tried: Collection[str] = (),
    ) -> list[str]:
        """All replicas, the best one first.

        Args:
            adapter: a version's digest; None is the bare base, which is at home everywhere.
            rows: how many rows a replica has, where that is known later than from its report.
            tried: replicas that come last, as silent ones do.
        """
        with self._lock:
            best, now = self._ranked(adapter, rows), self._clock()
            last = {*tried, *(name for name, until in self._silent.items() if until > now)}
        return sorted(best, key=last.__contains__)

    def _ranked(self, adapter: str | None, rows: Callable[[str], int | None]) -> list[str]:
        key = random.getrandbits(64) if adapter is None else mark(adapter)
        order = [self._names[at] for at in np.argsort(_mixed(self._hashes ^ np.uint64(key)))]
        holders = set[str]() if adapter is None else self._holding(key)
        near = {
            name: self._seconds(name, rows(name), adapter is None or name in holders)
            for name in {*order[: NEAR + len(holders)], *holders}
        }
        # Sorting is stable: what costs the same stays in the adapter's order.
        costly = [name for name in order if name not in near]
        return sorted((name for name in order if name in near), key=near.__getitem__) + costly

    def _compare(self, reports: dict[str, Report]) -> None:
        before, self._reports = self._reports, reports
        for name in before.keys() - reports.keys():
            self._backlogs.pop(name, None)
        for name in before.keys() | reports.keys():
            old, new = before.get(name), reports.get(name)
            if old != new:
                self._hold(
                    name, old.marks if old else frozenset(), new.marks if new else frozenset()
                )

    def _hold(self, name: str, old: frozenset[int], new: frozenset[int]) -> None:
        for each in new - old:
            self._holders[each].add(name)
        for each in old - new:
            self._holders[each].discard(name)
            if not self._holders[each]:
                del self._holders[each]

    def _holding(self, key: int) -> set[str]:
        now = self._clock()
        held = self._holders.get(key, set())
        recent = {name for name in self._names if self._sent.get((key, name), 0.0) > now}
        return (held | recent) & self._reports.keys()

    def _seconds(self, name: str, rows: int | None, holds: bool) -> float:
        """Until an answer that begins now is complete."""
        report, pace = self._reports[name], self._pace
        rows = report.rows if rows is None else rows
        beside = min(rows + 1, report.capacity)
        answer = pace.answer * (pace.step + pace.row * beside)
        waiting = (rows + 1 - beside) / report.capacity * answer
        # What is evicted for it will have to be loaded again.
        backlog = self._backlogs[name].seconds(self._clock())
        load = 0.0 if holds else pace.load * (2 if report.full else 1) + backlog
        return answer + waiting + load


def _pace(reports: list[Report]) -> _Pace:
    told = reports or [Report()]
    return _Pace(
        step=median(each.step for each in told),
        row=median(each.row for each in told),
        load=median(each.load for each in told),
        answer=median(each.answer for each in told),
    )


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number with its bits spread over all others (the end of splitmix64)."""
    for shift, factor in (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))
