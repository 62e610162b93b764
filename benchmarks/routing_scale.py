"""Does routing stay right, quick and small when a million others are registered?

The labels of a folder (see benchmarks.routing) become specialists with all their examples, each of
an owner of its own, among very many unrelated ones of one to five examples each. The vectors of
these lie between those of real texts: of general requests whose beginnings and ends were crossed.
All are packed as a replica packs them, and everything is measured in a process of its own:
decisions with the encoder on texts that were never read before, also while specialists are
registered; what the graph finds beside exact search; memory.
"""

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks.peers import PYTHON
from benchmarks.report import Row, at_least, at_most, show, write_json
from benchmarks.routing import Labelled, cards, load, routes_of
from deploy.encoder import open_encoder
from router.routing.compact import Compact
from router.routing.encoder import Encoder, Vectors
from router.routing.general import base_requests, follow_up_probe, general_requests
from router.routing.index import CENTRAL_WEIGHT, NEAR_WEIGHT, NEIGHBOURS, score
from router.routing.pack import Pack
from router.routing.packing import merge, write
from router.routing.policy import POOL, Policy
from router.routing.probe import Probe
from router.routing.refiner import Refiner, first_probes
from router.routing.route import Route
from router.routing.snapshot import Snapshot
from router.routing.view import routing_view

READ = 20_000
"""Texts between whose vectors the unrelated specialists' lie."""
TOGETHER = 32_768
OWNERS = 50_000
MOST_EXAMPLES = 5
SAMPLED = 600
EXACT = 100
"""Requests for which all specialists are scored exactly."""
TEN = 10
REGISTERED = 50
EVERY = 0.1
"""Seconds between registrations beside which decisions are measured."""
MEDIAN_MS = {0: 5.0, 100_000: 6.0, 1_000_000: 8.0}
PLOT = Path(__file__).parent / "peers" / "plot.py"
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """One size's figures, times in milliseconds; see `rows_of` for what they are."""

    cold: float
    right: float
    found: float
    median: float
    slow: float
    registering_median: float
    registering_slow: float
    registration: float
    private_mib: float
    mapped_mib: float


def crossed(count: int) -> list[str]:
    """Texts that begin as one general request and end as another."""
    random, requests = Random(0), [text.split() for text in general_requests()]
    found = []
    for _ in range(count):
        one, other = random.choice(requests), random.choice(requests)
        found.append(" ".join([*one[: len(one) // 2], *other[len(other) // 2 :]]))
    return found


def unrelated(pool: Vectors, start: int, count: int) -> Iterator[Route]:
    """Specialists by number, each around a text of the pool."""
    for number in range(start, start + count):
        draw = np.random.default_rng(number)
        theme, *others = draw.integers(0, len(pool), 1 + draw.integers(1, MOST_EXAMPLES + 1))
        share = draw.uniform(0.5, 0.8, (len(others), 1)).astype(np.float32)
        rows = share * pool[theme] + (1 - share) * pool[others]
        name = f"o{number % OWNERS}/s-{number}"
        yield Route(name, 1, f"sha256:{number:064x}", Compact.of(rows), float(number))


def grow(folder: Path, packs: list[Pack], pool: Vectors, have: int, want: int) -> list[Pack]:
    """The packs of so many more specialists, put together."""
    starts = range(have, want, TOGETHER)
    for start in track(starts, f"Making {want:,}", console=console, disable=not starts):
        some = list(unrelated(pool, start, min(TOGETHER, want - start)))
        packs = [*packs, Pack(write(folder, some))]
    begun = time.monotonic()
    whole = Pack(merge(folder, packs, psutil.cpu_count() or 1))
    console.print(f"{len(whole.alive):,} put together in {time.monotonic() - begun:.0f} s")
    return [whole]


def measure(folder: str, labels: dict[str, str], test: Labelled) -> Measured:
    """Everything about the pack in a folder; `labels` are the specialists' by their names."""
    encoder = routing_view(open_encoder(1))
    general = encoder.encode(base_requests())
    pack = Pack(Path(folder))
    current = [Snapshot(1, [], general, follow_up_probe(general), [pack])]

    def give(newer: Mapping[str, Probe]) -> None:
        current[0] = current[0].refined(newer)

    refiner = Refiner(lambda: current[0], give)
    policy = Policy()
    cold = right(current[0], encoder, labels, test)
    for text, _ in track(test, "Refining", console=console):
        evidence = policy.decide(current[0], encoder, [text]).evidence
        refiner.want(evidence.unprobed if evidence else ())
        refiner.settle()
    times = decide(current, encoder, [text for text, _ in test])
    registering, registrations = beside_registrations(current, encoder, [text for text, _ in test])
    memory = psutil.Process().memory_info()
    return Measured(
        cold=cold,
        right=right(current[0], encoder, labels, test),
        found=found(current[0], pack, encoder, [text for text, _ in test[:EXACT]]),
        median=float(np.median(times)),
        slow=float(np.quantile(times, 0.99)),
        registering_median=float(np.median(registering)),
        registering_slow=float(np.quantile(registering, 0.99)),
        registration=float(max(registrations)),
        private_mib=(memory.rss - memory.shared) / 2**20,
        mapped_mib=memory.shared / 2**20,
    )


def right(snapshot: Snapshot, encoder: Encoder, labels: dict[str, str], test: Labelled) -> float:
    """The share of requests for which the right specialist is the likeliest of all."""
    decisions = [Policy().decide(snapshot, encoder, [text]) for text, _ in test]
    best = [labels.get(each.candidates[0].specialist) for each in decisions]
    return float(np.mean([a == b for a, (_, b) in zip(best, test, strict=True)]))


def decide(current: list[Snapshot], encoder: Encoder, texts: Sequence[str]) -> list[float]:
    """Milliseconds of each decision, reading the text included."""
    policy, times = Policy(), []
    for text in texts:
        begun = time.perf_counter()
        policy.decide(current[0], encoder, [text])
        times.append(1000 * (time.perf_counter() - begun))
    return times


def beside_registrations(
    current: list[Snapshot], encoder: Encoder, texts: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Milliseconds of decisions while others register, and of their registrations."""
    rows = encoder.encode([f"{text} please, and thanks" for text in texts[:REGISTERED]])
    before, took, over = current[0], [], threading.Event()

    def register() -> None:
        for number, row in enumerate(rows):
            begun = time.perf_counter()
            new = Route(f"late/s-{number}", 1, f"sha256:late-{number}", Compact.of(row[None]))
            changed = current[0].changed(number + 2, {new.specialist: new})
            current[0] = changed.refined(first_probes(changed, [new]))
            took.append(1000 * (time.perf_counter() - begun))
            over.wait(EVERY)

    thread = threading.Thread(target=register)
    thread.start()
    times: list[float] = []
    while thread.is_alive():
        times += decide(current, encoder, texts[:20])
    thread.join()
    current[0] = before
    return times, took


def found(snapshot: Snapshot, pack: Pack, encoder: Encoder, texts: list[str]) -> float:
    """Of the ten specialists that score best of all, the share that the policy has to decide on."""
    queries = encoder.encode(texts)
    priors = [snapshot.near_general(query) for query in queries]
    scores = exact(pack, queries, priors)
    shares = []
    for query, prior, of_all in zip(queries, priors, scores.T, strict=True):
        best = np.argpartition(-of_all, TEN)[:TEN]
        given = {number for number, _ in pack.nearest(query, POOL, prior, pack.alive)}
        shares.append(np.mean([int(each) in given for each in best]))
    return float(np.mean(shares))


def exact(pack: Pack, queries: Vectors, priors: Sequence[float]) -> NDArray[np.float32]:
    """All specialists' scores, float32 [specialists, queries]; see `index.py`."""
    columns, known = pack.columns, np.array(priors, dtype=np.float32)
    scores = np.empty((len(columns), len(queries)), dtype=np.float32)
    for start in track(range(0, len(columns), TOGETHER), "Exactly", console=console):
        some = slice(start, start + TOGETHER)
        sizes, ends = columns.sizes[some], columns.ends[some]
        rows = slice(int(ends[0] - sizes[0]), int(ends[-1]))
        cosines = Compact(columns.values[rows], columns.scales[rows]).floats() @ queries.T
        starts = np.cumsum(sizes) - sizes
        means = np.add.reduceat(cosines, starts) / sizes[:, None]
        raw = (NEAR_WEIGHT + CENTRAL_WEIGHT / columns.lengths[some, None]) * means
        scores[some] = known + (np.minimum(sizes, NEIGHBOURS) / NEIGHBOURS)[:, None] * (raw - known)
    for number in np.flatnonzero(columns.sizes > NEIGHBOURS):
        vectors = columns.rows(int(number)).floats()
        each = zip(queries, priors, strict=True)
        scores[number] = [score(vectors, query, prior) for query, prior in each]
    return scores


def rows_of(count: int, measured: Measured, alone: Measured) -> Iterator[Row]:
    """What is reported of one size."""
    name = f"{count:,} others"
    yield at_most(f"{name}: a decision", measured.median, "ms", MEDIAN_MS.get(count, 8.0))
    yield at_most(f"{name}: slowest of 100", measured.slow, "ms", 15.0)
    yield Row(f"{name}: right", 100 * measured.right, "%")
    yield Row(f"{name}: right before anybody asked", 100 * measured.cold, "%")
    if count:
        loss = 100 * (alone.right - measured.right)
        yield at_most(f"{name}: lost beside none", loss, "points", 1.0)
    yield at_least(f"{name}: found of the ten best", measured.found, "share", 0.98)
    yield at_most(
        f"{name}: slowest of {REGISTERED} registrations", measured.registration, "ms", 1e3
    )
    yield Row(f"{name}: a decision beside registrations", measured.registering_median, "ms")
    yield Row(f"{name}: slowest of 100 beside registrations", measured.registering_slow, "ms")
    yield at_most(f"{name}: memory", measured.private_mib + measured.mapped_mib, "MiB", 3 * 1024)
    yield Row(f"{name}: of it mapped from disk", measured.mapped_mib, "MiB")


def run(data: Path, sizes: Sequence[int]) -> Iterator[tuple[int, Measured]]:
    """Every size's figures, the smallest first."""
    loaded = load(data, [], 0, None)
    made = cards(loaded.settings["full"])
    test = Random(0).sample(loaded.test, min(SAMPLED, len(loaded.test)))
    encoder = routing_view(open_encoder(2))
    texts = crossed(READ)
    parts = [texts[at : at + 256] for at in range(0, READ, 256)]
    pool = np.concatenate([encoder.encode(p) for p in track(parts, "Reading", console=console)])
    theirs = [
        replace(route, specialist=f"owner-{number}/label")
        for number, route in enumerate(routes_of(made, encoder))
    ]
    labels = {route.specialist: label for route, label in zip(theirs, made, strict=True)}
    with tempfile.TemporaryDirectory(prefix="myriad-scale-") as folder:
        packs, have = [Pack(write(Path(folder), theirs))], 0
        for count in sorted(sizes):
            packs = grow(Path(folder), packs, pool, have, count)
            have = count
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                where = str(packs[0].folder)
                yield count, apart.submit(measure, where, labels, test).result()


def draw(figures: dict[int, Measured], file: Path) -> None:
    """A picture of how times grow."""
    drawn = {
        "median": "median",
        "slow": "slowest of 100",
        "registering_median": "median beside registrations",
    }
    lines = [
        {
            "name": name,
            "points": [[count + 150, getattr(each, field)] for count, each in figures.items()],
            "dashed": field == "registering_median",
        }
        for field, name in drawn.items()
    ]
    chart = {"title": "A decision, reading the text included", "x": "specialists", "y": "ms",
             "lines": lines}  # fmt: skip
    subprocess.run([PYTHON, PLOT, file], input=json.dumps(chart), text=True, check=True)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 100_000, 1_000_000])
    parser.add_argument("--plot", type=Path, help="draw how times grow (PNG)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {}
    for count, measured in run(options.data, options.sizes):
        figures[count] = measured
        console.print(count, measured)
    alone = figures[min(figures)]
    rows = [row for count, each in figures.items() for row in rows_of(count, each, alone)]
    show(rows)
    write_json(options.json, rows)
    if options.plot:
        draw(figures, options.plot)


if __name__ == "__main__":
    main()
