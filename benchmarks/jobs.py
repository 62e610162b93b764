"""Fine-tuning jobs on a cluster of their own: how long, what chats notice, what kills cost.

Rows are those of the largest task in a folder of chat-format tasks. Chats are one stream after the
other; each gives its first token's time and its mean gap between tokens.
"""

import argparse
import hashlib
import io
import random
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from rich.console import Console

from benchmarks.chatting import after, chats, compared
from benchmarks.cluster import Cluster, running
from benchmarks.mixed_tasks import read_tasks
from benchmarks.report import Row, at_least, at_most, show, write_json

ROWS = 200
CHAT_SECONDS = 40.0
ENDED = ("succeeded", "failed", "cancelled")
TRAINER = "ray::train"

console = Console()


@dataclass
class Bench:
    """A cluster with a file of rows."""

    cluster: Cluster
    client: OpenAI
    base: str
    file: str
    made: int = 0

    def start(self, **more: Any) -> str:
        """Ask for a job; its id."""
        self.made += 1
        asked = {"effort": "quick", "specialist": f"bench/job-{self.made}"} | more
        job = self.client.fine_tuning.jobs.create(
            model=self.base, training_file=self.file, seed=1, extra_body=asked
        )
        return job.id

    def end(self, job: str) -> Any:
        """Wait until a job has ended."""
        while (found := self.client.fine_tuning.jobs.retrieve(job)).status not in ENDED:
            time.sleep(0.5)
        return found

    def step(self, job: str) -> int:
        """How many steps a job has told of."""
        events = self.client.fine_tuning.jobs.list_events(job, limit=20).data
        data: list[Any] = [each.data for each in events if each.type == "metrics"]
        return int(data[0]["step"]) if data else 0

    def weights(self, job: Any) -> str:
        """The digest of what a job has trained."""
        path = f"/v1/specialists/{job.specialist}/versions/1/bundle"
        answer = httpx.get(f"{self.cluster.url}{path}", trust_env=False, timeout=60)
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
            content = tar.extractfile("adapter_model.safetensors")
            return hashlib.sha256(content.read() if content else b"").hexdigest()

    def kill(self) -> bool:
        """Kill the process that trains, if there is one."""
        found = self.cluster.parts(TRAINER)
        for each in found:
            each.kill()
        return bool(found)


def quick(bench: Bench) -> Iterator[Row]:
    """One job and nothing else."""
    began = time.perf_counter()
    done = bench.end(bench.start())
    if done.status != "succeeded":
        raise SystemExit(f"the job {done.status}: {done.error}")
    yield at_most("jobs.quick", time.perf_counter() - began, "s", 90)
    yield Row("jobs.quick.tokens", float(done.trained_tokens or 0), "tokens")


def beside(bench: Bench) -> Iterator[Row]:
    """Chats before a job and while it trains."""
    alone = chats(bench.client, bench.base, after(CHAT_SECONDS))
    job = bench.start(effort="thorough")
    while bench.step(job) < 2:
        time.sleep(0.5)
    before, began = bench.step(job), time.perf_counter()
    among = chats(bench.client, bench.base, after(CHAT_SECONDS))
    steps = (bench.step(job) - before) / (time.perf_counter() - began)
    free, began = bench.step(job), time.perf_counter()
    time.sleep(CHAT_SECONDS / 2)
    free_steps = (bench.step(job) - free) / (time.perf_counter() - began)
    bench.client.fine_tuning.jobs.cancel(job)
    bench.end(job)
    yield from compared("jobs.chats", alone, among, "while one trains")
    yield Row("jobs.chats.training meanwhile", steps / free_steps if free_steps else 0, "share")


def kills(bench: Bench, count: int) -> Iterator[Row]:
    """Jobs whose trainers are killed once, at a random moment, against one that nobody kills."""
    began = time.perf_counter()
    undisturbed = bench.end(bench.start())
    seconds = time.perf_counter() - began
    expected, same, killed = bench.weights(undisturbed), 0, 0
    for number in range(count):
        job = bench.start()
        when = random.Random(number).uniform(0, seconds)
        timer = threading.Event()
        timer.wait(when)
        killed += bench.kill()
        done = bench.end(job)
        same += done.status == "succeeded" and bench.weights(done) == expected
        console.print(f"killed after {when:.0f} s: {done.status}", style="dim")
    yield Row("jobs.kills", killed, "kills")
    yield at_least("jobs.kills.same weights", same / count, "share", 1.0)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--kills", type=int, default=20, help="jobs whose trainer is killed")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    task = max(read_tasks(arguments.data), key=lambda task: len(task.train))
    lines = [
        row.model_dump_json(include={"messages": {"__all__": {"role", "content"}}})
        for row in task.train
    ]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as cluster:
        client = OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", timeout=600)
        content = "\n".join(lines[:ROWS]).encode()
        file = client.files.create(file=("rows.jsonl", content), purpose="fine-tune").id
        base = next(m.id for m in client.models.list() if "/" not in m.id and m.id != "auto")
        bench = Bench(cluster, client, base, file)
        cases = [quick(bench), beside(bench)]
        cases += [kills(bench, arguments.kills)] if arguments.kills else []
        for case in cases:
            found = list(case)
            show(found)
            rows += found
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
