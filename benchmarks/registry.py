"""What does the registry cost at any size? Look-ups, searches, registrations, changes.

Homes are filled as registrations would leave them, row by row in every table, by one transaction;
one of five specialists is public, the others are private to a hundred thousand owners. With --http,
adapters of 2 MB are registered with a real server too, beside the hashing and writing of as much;
it has two router replicas, which are asked until both know of each.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save
from sqlalchemy import Connection, insert

from benchmarks.cluster import running
from benchmarks.report import Row, alternating, at_most, show, write_json
from deploy.home import base_spec
from deploy.settings import read_settings
from registry import audit, listing, tables
from registry.base import BaseSpec
from registry.card import Card
from registry.digests import digest_bytes
from registry.manifest import Manifest, canonical, digest
from registry.reference import parse_reference
from registry.registry import Registry
from registry.view import Visibility
from specialists.base import locate_base

OWNERS = 100_000
VOCABULARY = 5_000
WORDS = 14
BATCH = 10_000
ASKED = 200
RESOLVE_MS, SEARCH_MS, REGISTER_RATIO, HTTP_MS = 1.0, 50.0, 1.2, 50.0
VISIBLE_SECONDS, REPLICAS = 1.0, 2
LOST_SECONDS = 60
"""A registration that no router has considered by then is given up."""
ORDINARY = 0.02
"""Of an adapter's numbers: with larger ones it is quarantined as an outlier."""
CERTAIN = 20
"""Requests to routers drawn at random after which each was asked."""
RARE, COMMON = "rarely", "often"
BEGAN = datetime(2026, 1, 1)


class Names:
    """The specialists of a filled home, each by its number from 0."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        lengths = draw.integers(4, 11, VOCABULARY)
        self._words = ["".join(draw.choice(letters, length)) for length in lengths]
        # As words of a language: the second half as often as the first, and so on.
        self._frequencies = 1 / np.arange(1, VOCABULARY + 1)
        self._frequencies /= self._frequencies.sum()

    def id(self, number: int) -> str:
        """`owner/name`."""
        return f"owner{number * 7919 % OWNERS}/specialist-{number}"

    def visibility(self, number: int) -> Visibility:
        """One of five is public."""
        return Visibility.PRIVATE if number % 5 else Visibility.PUBLIC

    def descriptions(self, begin: int, count: int) -> Iterator[str]:
        """Sentences; every second has the common word, one of 10,000 the rare one."""
        draw = np.random.default_rng(begin)
        chosen = draw.choice(VOCABULARY, (count, WORDS), p=self._frequencies)
        for number, row in enumerate(chosen, begin):
            words = [self._words[each] for each in row]
            words += [COMMON] * (number % 2) + [RARE] * (number % 10_000 == 0)
            yield " ".join(words)


def main() -> None:
    """Measure each size, and print the table."""
    arguments = _arguments()
    base = locate_base(read_settings().base, read_settings().home)
    spec = base_spec(read_settings(), base)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        empty = Registry.open(Path(folder, "empty"), spec)
        for count in arguments.specialists:
            home = Path(folder, str(count))
            registry = Registry.open(home, spec)
            fill(registry, spec, count)
            rows += list(measure(registry, empty, spec, count))
            size = (home / "registry.db").stat().st_size
            rows.append(Row(f"{count:,}.database", size / count, "bytes per specialist"))
            registry.close()
        if arguments.http:
            rows += over_http(Path(folder, "http"), spec)
    show(rows)
    write_json(arguments.json, rows)


def fill(registry: Registry, spec: BaseSpec, count: int) -> None:
    """Leave a registry as so many registrations would."""
    names = Names()
    config, weights = registry._blobs.put(b"{}"), registry._blobs.put(b"")
    with registry._database.write() as connection:
        last = ""
        batches = range(0, count, BATCH)
        for begin in track(batches, f"Filling {count:,}", console=Console(stderr=True)):
            described = names.descriptions(begin, min(BATCH, count - begin))
            made = [
                _Made(names, number, text, spec, config, weights)
                for number, text in enumerate(described, begin)
            ]
            last = _insert(connection, made, last)


class _Made:
    """One specialist's rows."""

    def __init__(
        self, names: Names, number: int, text: str, spec: BaseSpec, config: str, weights: str
    ) -> None:
        self.number = number + 1
        self.id = names.id(number)
        tags = (f"tag{number % 1000}", "all")
        self.card = Card(id=self.id, description=text, tags=tags, examples=(text,))
        stored = self.card.canonical()
        manifest = Manifest("lora", spec.name, spec.digest, config, weights, digest_bytes(stored))
        self.created = BEGAN + timedelta(seconds=number)
        self.visibility = names.visibility(number)
        self.version = {
            "id": self.number, "specialist": self.id, "number": 1, "digest": digest(manifest),
            "kind": "lora", "base": spec.name, "config": config, "weights": weights,
            "card": stored.decode(), "nbytes": 2, "created": self.created,
        }  # fmt: skip

    @property
    def words(self) -> str:
        """What it is found by."""
        return listing.words(self.id, json.loads(str(self.version["card"])), self.visibility)


def _insert(connection: Connection, made: list[_Made], last: str) -> str:
    """Insert rows into every table; from the audit log's digest before them, its last one."""
    specialists = [
        {"id": each.id, "seq": each.number, "name": each.id.partition("/")[2],
         "visibility": each.visibility}
        for each in made
    ]  # fmt: skip
    pointing = [{"specialist": each.id, "alias": "prod", "version": each.number} for each in made]
    connection.execute(insert(tables.specialists), specialists)
    connection.execute(insert(tables.versions), [each.version for each in made])
    connection.execute(insert(tables.aliases), pointing)
    dated = [row | {"created": each.created} for row, each in zip(pointing, made, strict=True)]
    connection.execute(insert(tables.moves), dated)
    changed = [
        {"seq": each.number, "specialist": each.id, "created": each.created} for each in made
    ]
    connection.execute(insert(tables.changes), changed)
    base = [
        {"version": each.number, "relation": "base", "subject": each.version["base"],
         "label": each.version["base"]}
        for each in made
    ]  # fmt: skip
    connection.execute(insert(tables.origins), base)
    listed = [{"rowid": each.number, "words": each.words} for each in made]
    connection.execute(insert(listing.listing), listed)
    entries = []
    for each in made:
        entry: dict[str, Any] = {
            "seq": each.number, "created": each.created, "action": audit.REGISTERED,
            "specialist": each.id, "details": canonical({"version": 1}).decode(),
        }  # fmt: skip
        last = audit._digest(last, **entry)
        entries.append(entry | {"digest": last})
    connection.execute(insert(tables.audit), entries)
    return last


def measure(registry: Registry, empty: Registry, spec: BaseSpec, count: int) -> Iterator[Row]:
    """All figures of one size."""
    names, draw = Names(), np.random.default_rng(1)
    some = [int(number) for number in draw.integers(0, count, ASKED)]
    digests = {names.id(number): registry.get(names.id(number)).digest for number in some}
    owner = registry.seen_by(names.id(some[0]).partition("/")[0])
    asks: dict[str, Callable[[int], object]] = {
        "resolve.name": lambda n: registry.get(names.id(n)),
        "resolve.digest": lambda n: registry.resolve(
            parse_reference(f"{names.id(n)}@{digests[names.id(n)]}")
        ),
        "resolve.as an owner": lambda n: owner.resolve(parse_reference(names.id(n - n % 5))),
        "unknown name": lambda n: registry.nearest(names.id(n) + "x"),
        "unknown name, as an owner": lambda n: owner.nearest(names.id(n) + "x"),
        **_searches(registry, owner),
    }
    for name, ask in asks.items():
        limit = RESOLVE_MS if name.startswith("resolve") else SEARCH_MS
        yield at_most(f"{count:,}.{name}", _median_ms(ask, some), "ms", limit)
    yield Row(f"{count:,}.last change", _median_ms(lambda _: registry.generation(), some), "ms")
    changes = _median_ms(lambda _: registry.changes(count - 1), some)
    yield Row(f"{count:,}.one change", changes, "ms")
    yield from _registrations(registry, empty, spec, count)


def _searches(registry: Registry, owner: Registry) -> dict[str, Callable[[int], object]]:
    def search(text: str | None, tag: str | None = None) -> Callable[[int], object]:
        return lambda _: registry.search(text, tag, None, 20)

    def own(text: str | None, tag: str | None = None) -> Callable[[int], object]:
        return lambda _: owner.search(text, tag, None, 20)

    return {
        "search.nothing": search(None),
        "search.a common word": search(COMMON),
        "search.a rare word": search(RARE),
        "search.both": search(f"{COMMON} {RARE}"),
        "search.none has it": search("qqqqqq"),
        "search.two letters": search("qx"),
        "search.a tag": search(None, "tag7"),
        "search.nothing, as an owner": own(None),
        "search.a common word, as an owner": own(COMMON),
        "search.a rare word, as an owner": own(RARE),
        "models": lambda _: owner.newest(200),
    }


def _registrations(
    registry: Registry, empty: Registry, spec: BaseSpec, count: int
) -> Iterator[Row]:
    weights, config = _adapter(spec, 1), _config()
    numbers = iter(range(10**9))

    def one(into: Registry) -> float:
        card = Card(id=f"new/s-{count}-{next(numbers)}", description=f"New {COMMON}", tags=("all",))
        return _seconds(lambda: into.register(card, config, weights)) * 1000

    found = alternating(
        {"empty": lambda: one(empty), "filled": lambda: one(registry)}, rounds=ASKED
    )
    yield Row(f"{count:,}.register", found["filled"], "ms")
    ratio = found["filled"] / found["empty"]
    yield at_most(f"{count:,}.register, of an empty one", ratio, "ratio", REGISTER_RATIO)


def over_http(home: Path, spec: BaseSpec, rounds: int = 20) -> Iterator[Row]:
    """What a registration of 2 MB takes beyond hashing and writing, and when `auto` knows of it."""
    spare: list[float] = []
    known: list[float] = []
    home.mkdir()
    settings = {"MYRIAD_DEMOS": "false", "MYRIAD_ROUTER__REPLICAS": str(REPLICAS)}
    with (
        running(home / "home", **settings) as cluster,
        httpx.Client(base_url=cluster.url, trust_env=False, timeout=60) as http,
    ):
        for number in track(range(rounds), "Registering over HTTP", console=Console(stderr=True)):
            weights = _adapter(spec, 3, seed=number)
            plain = _seconds(lambda w=weights: _hashed_and_written(home / "plain", w))  # type: ignore[misc]
            files = {
                "adapter_config": ("adapter_config.json", _config(3)),
                "adapter_model": ("adapter_model.safetensors", weights),
            }
            made, example = f"new/s-{number}", f"What does number {number} of the new ones say?"
            card = json.dumps({"id": made, "description": "New.", "examples": [example]})
            began = time.perf_counter()
            http.post("/v1/specialists", data={"card": card}, files=files).raise_for_status()
            spare.append(time.perf_counter() - began - plain)
            known.append(_known_everywhere(cluster.url, made, example))
    megabytes = len(weights) / 1e6
    name = f"register {megabytes:.1f} MB over HTTP, beyond hashing and writing"
    yield at_most(name, statistics.median(spare) * 1000, "ms", HTTP_MS)
    name = f"a registration is known to {REPLICAS} routers: "
    yield at_most(name + "median", statistics.median(known), "s", VISIBLE_SECONDS)
    yield at_most(name + "slowest", max(known), "s", VISIBLE_SECONDS)


def _known_everywhere(url: str, made: str, example: str) -> float:
    """Seconds until the last decision that did not consider it; a connection goes to any router."""
    began, last, knowing = time.perf_counter(), 0.0, 0
    while knowing < CERTAIN:
        reply = httpx.post(f"{url}/v1/route", json={"input": example}, trust_env=False, timeout=60)
        candidates = reply.raise_for_status().json()["candidates"]
        if made in [each["specialist"] for each in candidates]:
            knowing += 1
        else:
            knowing, last = 0, time.perf_counter() - began
        if last > LOST_SECONDS:
            raise SystemExit(f"{made} was not considered within {LOST_SECONDS} seconds")
    return last


def _hashed_and_written(file: Path, content: bytes) -> None:
    digest_bytes(content)
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _adapter(spec: BaseSpec, rank: int, seed: int = 0) -> bytes:
    """An adapter of every layer's linear maps, like the demos'; of rank 1, of one map alone."""
    draw = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return (ORDINARY * draw.standard_normal(shape)).astype(np.float16)

    found: dict[str, np.ndarray] = {}
    for layer in range(spec.layers if rank > 1 else 1):
        for module, (d_out, d_in) in list(spec.modules.items())[: None if rank > 1 else 1]:
            at = f"base_model.model.model.layers.{layer}.{module}"
            found[f"{at}.lora_A.weight"] = matrix(rank, d_in)
            found[f"{at}.lora_B.weight"] = matrix(d_out, rank)
    return bytes(save(found))


def _config(rank: int = 1) -> bytes:
    targets = "all-linear" if rank > 1 else ["q_proj"]
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets}
    return json.dumps(plain).encode()


def _median_ms(ask: Callable[[int], object], numbers: list[int]) -> float:
    return statistics.median(_seconds(lambda n=n: ask(n)) for n in numbers) * 1000  # type: ignore[misc]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--specialists", type=int, nargs="+", default=[100, 10_000, 1_000_000], metavar="COUNT"
    )
    parser.add_argument("--http", action="store_true", help="register with a real server too")
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
