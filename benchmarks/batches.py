"""Batches on a cluster of their own: how fast they are answered, and what chats notice of them.

Requests are for the demo specialists, one after the other. Peers are as many clients as a batch
has requests at work, each with one request at a time.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from openai import OpenAI

from benchmarks.chatting import Chats, after, chats, compared
from benchmarks.cluster import running
from benchmarks.report import Row, alternating, at_least, show, write_json

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
REQUESTS, TOKENS, CLIENTS = 320, 40, 16
MANY = 20_000
CHAT_SECONDS = 20.0
REST_SECONDS = 6.0
"""After this batches take nobody for waiting any more."""
LOOK_SECONDS = 0.1


@dataclass
class Bench:
    """A cluster, and whom it serves."""

    client: OpenAI
    models: list[str]

    def __post_init__(self) -> None:
        self._numbers = count()

    def bodies(self, requests: int) -> list[dict[str, Any]]:
        """Requests that nobody made before."""
        return [
            {
                "model": self.models[number % len(self.models)],
                "messages": [{"role": "user", "content": f"What do you say to number {number}?"}],
                "max_tokens": TOKENS,
                "temperature": 0,
            }
            for number in (next(self._numbers) for _ in range(requests))
        ]

    def start(self, requests: int) -> str:
        """Ask for a batch; its id."""
        lines = [
            {"custom_id": str(at), "method": "POST", "url": ENDPOINT, "body": body}
            for at, body in enumerate(self.bodies(requests))
        ]
        content = "\n".join(map(json.dumps, lines)).encode()
        file = self.client.files.create(file=("asked.jsonl", content), purpose="batch")
        return self.client.batches.create(
            input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h"
        ).id

    def cancel(self, batch: str) -> None:
        """End a batch."""
        self.client.batches.cancel(batch)
        while self.client.batches.retrieve(batch).status != "cancelled":
            time.sleep(LOOK_SECONDS)

    def answered(self, batch: str) -> int:
        """How many of its requests are."""
        counts = self.client.batches.retrieve(batch).request_counts
        return counts.completed if counts else 0

    def batch(self) -> float:
        """Requests a second of a batch, from its first answers to its files."""
        time.sleep(REST_SECONDS)
        began, batch = time.perf_counter(), self.start(REQUESTS)
        while self.client.batches.retrieve(batch).status != "completed":
            time.sleep(LOOK_SECONDS)
        return REQUESTS / (time.perf_counter() - began)

    def clients(self) -> float:
        """Requests a second of clients that wait for each answer."""
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for answer in pool.map(self._ask, self.bodies(REQUESTS)):
                if not answer.choices:
                    raise SystemExit("an answer is empty")
        return REQUESTS / (time.perf_counter() - began)

    def _ask(self, body: dict[str, Any]) -> Any:
        return self.client.chat.completions.create(**body)


def rate(bench: Bench, rounds: int) -> Iterator[Row]:
    """A batch, and the same by clients."""
    found = alternating({"batch": bench.batch, "clients": bench.clients}, rounds)
    for name, value in found.items():
        yield Row(f"batches.{name}", value, "requests/s")
    yield at_least("batches.against clients", found["batch"] / found["clients"], "ratio", 0.9)


def crowd(bench: Bench, rounds: int) -> Iterator[Row]:
    """Many clients, without a batch and beside one, turn by turn."""

    def beside_one() -> float:
        batch = bench.start(MANY)
        while not bench.answered(batch):
            time.sleep(LOOK_SECONDS)
        rate = bench.clients()
        bench.cancel(batch)
        return rate

    found = alternating({"alone": bench.clients, "beside": beside_one}, rounds)
    yield at_least("batches.clients beside a batch", found["beside"] / found["alone"], "ratio", 0.9)


def beside(bench: Bench, rounds: int) -> Iterator[Row]:
    """Chats before a batch and while one is answered, turn by turn."""
    model = bench.models[0]
    alone, among, rates = Chats(), Chats(), []
    for _ in range(rounds):
        alone += chats(bench.client, model, after(CHAT_SECONDS))
        batch = bench.start(MANY)
        while not bench.answered(batch):
            time.sleep(LOOK_SECONDS)
        chats(bench.client, model, after(2))
        before, began = bench.answered(batch), time.perf_counter()
        among += chats(bench.client, model, after(CHAT_SECONDS))
        rates.append((bench.answered(batch) - before) / (time.perf_counter() - began))
        bench.cancel(batch)
    yield from compared("batches.chats", alone, among, "beside a batch")
    yield Row("batches.beside chats", statistics.median(rates), "requests/s")


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as cluster:
        client = OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", timeout=600)
        models = sorted(model.id for model in client.models.list() if "/" in model.id)
        bench = Bench(client, models)
        bench.clients()
        for case in (rate, crowd, beside):
            found = list(case(bench, arguments.rounds))
            show(found)
            rows += found
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
