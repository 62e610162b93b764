"""What a text's vector costs: the kernels beside torch, and `POST /v1/route` for one and many.

Times of the encoder are medians of alternating rounds in this process. Then a cluster is started
with the demo specialists, and asked for decisions on texts that were never asked before, by one
client and by 32, and by 32 once more; all of it shares this machine's cores.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import httpx

from benchmarks.cluster import running
from benchmarks.report import Row, alternating, at_least, show, write_json
from router.routing.encoder_folder import packaged_folder
from router.routing.encoder_network import Network, TorchEncoder
from router.routing.general import general_requests
from specialists.engine.native.bert import NativeBert
from specialists.engine.native.compile import kernels

SIZES = ((1, 6), (1, 10), (1, 16), (1, 64), (1, 256), (32, 10))
CLIENTS = 32
ASKED = 400
LAYERS = (0, 5, 6)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def networks() -> dict[str, Network]:
    """What computes the encoder, by name."""
    folder = packaged_folder()
    native = {
        f"kernels, threads {threads}": NativeBert.from_folder(folder, kernels(), threads)
        for threads in (1, 2)
    }
    return {"torch": TorchEncoder(folder, 1), **native}


def encoding(rounds: int) -> Iterator[Row]:
    """Milliseconds of a call, by network and size."""
    found, draw = networks(), Random(0)
    for texts, tokens in SIZES:
        ids = [[draw.randrange(1000, 9000) for _ in range(tokens)] for _ in range(texts)]
        cases = {
            name: partial(_seconds, partial(network.means, ids, LAYERS))
            for name, network in found.items()
        }
        for name, seconds in alternating(cases, rounds).items():
            yield Row(f"{texts} x {tokens} tokens: {name}", 1000 * seconds, "ms")


def fresh(seed: int) -> Iterator[str]:
    """Requests that nobody asked before."""
    draw, requests = Random(seed), general_requests()
    while True:
        yield f"{draw.choice(requests)} {draw.randrange(10**6)}"


async def asked(url: str, texts: Sequence[str], clients: int) -> tuple[float, list[float]]:
    """Decisions a second, and how long each took, in seconds."""
    left, took = iter(texts), []

    async def client(http: httpx.AsyncClient) -> None:
        for text in left:
            begun = time.perf_counter()
            (await http.post("/v1/route", json={"input": text})).raise_for_status()
            took.append(time.perf_counter() - begun)

    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as http:
        begun = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        return len(texts) / (time.perf_counter() - begun), took


def over_http(rounds: int) -> Iterator[Row]:
    """Decisions a second of one client and of many, turn by turn; the first round warms up."""
    texts = fresh(0)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as cluster:
        for _ in range(rounds + 1):
            few, many = (list(itertools.islice(texts, count)) for count in (ASKED // 4, ASKED))
            cases = {"1 client": (few, 1), f"{CLIENTS} clients": (many, CLIENTS)}
            cases |= {f"{CLIENTS} clients, asked before": (many, CLIENTS)}
            for name, (some, clients) in cases.items():
                rate, took = asyncio.run(asked(cluster.url, some, clients))
                found.setdefault(name, []).append(rate)
                found.setdefault(f"{name}: each", []).append(1000 * statistics.median(took))
    medians = {name: statistics.median(values[1:]) for name, values in found.items()}
    for name, value in medians.items():
        yield Row(f"POST /v1/route, {name}", value, "ms" if "each" in name else "decisions/s")
    ratio = medians[f"{CLIENTS} clients"] / medians["1 client"]
    yield at_least(f"POST /v1/route, {CLIENTS} clients against one", ratio, "ratio", 3)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--http", type=int, default=3, help="rounds over HTTP; 0 starts no cluster")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = list(encoding(options.rounds))
    if options.http:
        rows += over_http(options.http)
    show(rows)
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
