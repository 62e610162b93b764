"""What does a catalogue cost as it grows? Start, registration, decision and memory, at any size.

Homes are filled as registrations and a first start would leave them, with adapters as small as they
get, and with random vectors in the place of the encoder's: what is measured is everything but the
encoder. A start is one of the real cluster, beside one of an empty home, turn by turn.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save

from benchmarks.cluster import running
from benchmarks.report import Row, at_most, write_json
from deploy.home import base_spec
from deploy.settings import read_settings
from registry import records
from registry.base import BaseSpec
from registry.card import Card
from registry.digests import digest_bytes
from registry.manifest import Manifest
from registry.registry import Registry
from router.routing.encoder import Vectors
from router.routing.encoder_folder import EncoderFolder
from router.routing.follower import Follower
from router.routing.general import general_requests
from router.routing.policy import Policy
from router.routing.vectors import VectorStore
from router.routing.view import DIMENSIONS, view_identity
from specialists.base import locate_base

SPREAD = 1 / np.sqrt(8 + np.arange(DIMENSIONS))
"""Later coordinates say less, as in the view."""
TOPICS = 200
ROUNDS = 200
BURST = 1000
START_RATIO, REGISTRATION_MS, DECISION_MS = 1.2, 20.0, 5.0

console = Console(width=None if sys.stdout.isatty() else 120)


class RandomVectors:
    """Stands in for MiniLM's view, by its name: texts of one topic lie near each other."""

    name = "random"
    dimensions = DIMENSIONS
    identity = view_identity(EncoderFolder.packaged().identity)

    def __init__(self) -> None:
        self._topics = np.random.default_rng(0).normal(size=(TOPICS, DIMENSIONS))

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors, float32 [len(texts), dimensions], each from a seed of its text."""
        rows = np.stack([self._row(text) for text in texts]).astype(np.float32)
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def windows(self, text: str) -> list[str]:
        """The text; none here is long."""
        return [text]

    def count(self, text: str) -> int:
        """Tokens, more or less."""
        return len(text.split())

    def _row(self, text: str) -> Vectors:
        seed = int.from_bytes(digest_bytes(text.encode()).encode()[-8:], "little")
        draw = np.random.default_rng(seed)
        row: Vectors = (self._topics[hash_topic(text)] + draw.normal(size=DIMENSIONS)) * SPREAD
        return row


def hash_topic(text: str) -> int:
    """The topic of a text: its first word's."""
    return int(digest_bytes(text.split()[0].encode())[-6:], 16) % TOPICS


@dataclass(frozen=True)
class Measured:
    """One size's figures.

    Attributes:
        read_s: seconds in which a follower that starts reads everything.
        registration_ms: median of what a registration adds to a replica's work.
        slowest_ms: the slowest of these.
        burst_ms: mean per registration of a burst, taken in at once.
        decision_ms: median of a decision, without the encoder.
        slowest_decision_ms: the slowest of these.
        memory_mib: what the routes take in memory.
        vectors_mib: what their vectors alone take in single precision.
    """

    read_s: float
    registration_ms: float
    slowest_ms: float
    burst_ms: float
    decision_ms: float
    slowest_decision_ms: float
    memory_mib: float
    vectors_mib: float


def main() -> None:
    """Fill, start, measure, print."""
    arguments = _arguments()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    spec = base_spec(settings, base)
    rows: list[Row] = []
    table = Table(
        "specialists × examples", "start, ×", "read, s", "registration, ms (slowest)",
        "in a burst, ms", "decision, ms (slowest)", "memory, MiB (vectors)",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="myriad-scale-") as folder:
        empty = _home(Path(folder) / "empty", base.folder.parent)
        for count, examples in arguments.sizes:
            home = _home(Path(folder) / f"{count}x{examples}", base.folder.parent)
            console.print(f"Filling {count:,} × {examples}", style="dim")
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                apart.submit(fill, home, spec, count, examples).result()
            ratio = _start_ratio(empty, home, arguments.rounds) if arguments.rounds else None
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                found = apart.submit(measure, home, spec, examples).result()
            name = f"scale.{count}x{examples}"
            rows += _rows(name, found, ratio)
            table.add_row(f"{count:,} × {examples}", *_cells(found, ratio))
    console.print(table)
    write_json(arguments.json, rows)


def fill(home: Path, spec: BaseSpec, count: int, examples: int) -> None:
    """Leave a home as so many registrations would, and as a first start would leave its cache."""
    registry = Registry.open(home, spec)
    store = VectorStore(RandomVectors(), home / "cache")
    config, weights = registry._blobs.put(b"{}"), registry._blobs.put(_weights(spec))
    cards = [_card(number, examples) for number in range(count)]
    with registry._database.write() as connection:
        for card in cards:
            parts = ("lora", spec.name, spec.digest, config, weights)
            manifest = Manifest(*parts, digest_bytes(card.canonical()))
            records.register(connection, card, manifest, records.Wanted(), registry._view)
    after = ""
    while live := registry.live(after):
        for each in live:
            number = int(each.id.rpartition("-")[2])
            store.of_version(each.digest, partial(list, cards[number].examples))
        after = live[-1].id
    _move_to_disk(registry, home / "cache")
    registry.close()


def _move_to_disk(registry: Registry, cache: Path) -> None:
    """Leave the cache as a replica does that had the time to tidy up."""
    follower = Follower(registry, RandomVectors(), cache=cache)
    follower.refresh()
    while follower.is_tidying:
        follower.tidy()
        time.sleep(0.1)
    follower.stop()


def measure(home: Path, spec: BaseSpec, examples: int) -> Measured:
    """Everything that one replica does, in a process of its own."""
    encoder = RandomVectors()
    registry = Registry.open(home, spec)
    encoder.encode(["warm up"])
    before = psutil.Process().memory_info().rss
    follower = Follower(registry, encoder, cache=home / "cache")
    read_s = _seconds(follower.refresh)
    memory = psutil.Process().memory_info().rss - before
    snapshot = follower.snapshot
    assert snapshot is not None
    vectors = snapshot.examples * DIMENSIONS * 4
    decisions = [
        _seconds(Policy().decide, snapshot, encoder, [text]) - _seconds(encoder.encode, [text])
        for text in general_requests()[:ROUNDS]
    ]
    registrations = [
        _added(registry, follower, [_card(10**6 + number, examples)]) for number in range(ROUNDS)
    ]
    burst = [_card(2 * 10**6 + number, examples) for number in range(BURST)]
    burst_s = _added(registry, follower, burst)
    registry.close()
    return Measured(
        read_s=read_s,
        registration_ms=1000 * statistics.median(registrations),
        slowest_ms=1000 * max(registrations),
        burst_ms=1000 * burst_s / BURST,
        decision_ms=1000 * statistics.median(decisions),
        slowest_decision_ms=1000 * max(decisions),
        memory_mib=memory / 2**20,
        vectors_mib=vectors / 2**20,
    )


def _added(registry: Registry, follower: Follower, cards: list[Card]) -> float:
    """Seconds that a replica takes to route to what was registered."""
    with registry._database.write() as connection:
        for card in cards:
            parts = ("lora", registry._base.name, registry._base.digest, "sha256:0", "sha256:0")
            manifest = Manifest(*parts, digest_bytes(card.canonical()))
            records.register(connection, card, manifest, records.Wanted(), registry._view)
    # Vectors are the encoder's cost, and made here.
    for card in cards:
        follower._vectors._texts.encode(card.routed_by)
    return _seconds(follower.refresh)


def _card(number: int, examples: int) -> Card:
    topic = f"topic{number % 997}"
    texts = tuple(f"{topic} request {number} wording {each}" for each in range(examples))
    return Card(id=f"scale/s-{number}", description=f"{topic} number {number}", examples=texts)


def _weights(spec: BaseSpec) -> bytes:
    """The smallest adapter there is: rank 1 in one module of one layer."""
    d_out, d_in = spec.modules["self_attn.k_proj"]
    module = "base_model.model.model.layers.0.self_attn.k_proj"
    shapes = {f"{module}.lora_A.weight": (1, d_in), f"{module}.lora_B.weight": (d_out, 1)}
    return bytes(save({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}))


def _home(folder: Path, bases: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "base").symlink_to(bases)
    return folder


def _start_ratio(empty: Path, home: Path, rounds: int) -> float:
    """Median start of the real cluster with this home, over that with an empty one."""
    _start(empty), _start(home)  # what a first start computes is kept
    ratios = []
    for number in range(rounds):
        seconds = {each: _start(each) for each in ((empty, home), (home, empty))[number % 2]}
        ratios.append(seconds[home] / seconds[empty])
        console.print(f"  empty {seconds[empty]:.1f} s, filled {seconds[home]:.1f} s", style="dim")
    return statistics.median(ratios)


def _start(home: Path) -> float:
    """Seconds from the command to its word that it is ready."""
    began = time.monotonic()
    with running(home, MYRIAD_DEMOS="false"):
        return time.monotonic() - began


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def _cells(found: Measured, ratio: float | None) -> Iterable[str]:
    yield "" if ratio is None else f"{ratio:.2f}"
    yield f"{found.read_s:.2f}"
    yield f"{found.registration_ms:.1f} ({found.slowest_ms:.1f})"
    yield f"{found.burst_ms:.2f}"
    yield f"{found.decision_ms:.2f} ({found.slowest_decision_ms:.2f})"
    yield f"{found.memory_mib:.0f} ({found.vectors_mib:.0f})"


def _rows(name: str, found: Measured, ratio: float | None) -> Iterable[Row]:
    if ratio is not None:
        yield at_most(f"{name}.start", round(ratio, 3), "ratio", START_RATIO)
    yield at_most(f"{name}.registration", found.registration_ms, "ms", REGISTRATION_MS)
    yield at_most(f"{name}.decision", found.decision_ms, "ms", DECISION_MS)
    yield Row(f"{name}.read", found.read_s, "s")
    yield Row(f"{name}.burst", found.burst_ms, "ms")
    yield Row(f"{name}.memory", found.memory_mib, "MiB")
    yield Row(f"{name}.vectors", found.vectors_mib, "MiB")


def _size(text: str) -> tuple[int, int]:
    count, _, examples = text.partition("x")
    return int(count), int(examples or 8)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        default=[(100, 8), (2000, 8), (2000, 160), (20_000, 8)],
        help="specialists, and after an x the examples of each",
    )
    parser.add_argument("--rounds", type=int, default=3, help="pairs of starts; 0 leaves them out")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
