"""Whole servers, ours and vLLM's, as vLLM's own load tester (`vllm bench serve`) sees them.

32 clients ask for chats of one length at random: of 32 specialists, and of the base alone. vLLM's
servers, with LoRA and without, run in an environment of their own (`make vllm`), and are asked in
turn with ours; who is not asked waits meanwhile. Every figure is a median of the rounds.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import httpx
import torch

from benchmarks.cluster import free_port, running
from benchmarks.engine import HIGH
from benchmarks.peers import VLLM, Peer, environment, peer
from benchmarks.report import Row as Figure
from benchmarks.report import alternating, at_least, command
from benchmarks.serving import OWNER, registered
from deploy.settings import Settings
from specialists.base import Base
from specialists.hardware import choose_dtype, dtype_name
from specialists.machine import cores

CLIENTS, REQUESTS, PROMPT, ANSWER = 32, 64, 64, 64
START_SECONDS = 600.0
ADAPTED, BARE = f"{len(HIGH)} adapters", "base"
MODELS = {ADAPTED: [f"{OWNER}/{name}" for name in HIGH], BARE: []}
TIMES = {"first": "median_ttft_ms", "gap": "p99_itl_ms"}
"""To the first token, and between pieces of an answer: what the load tester calls them."""
TARGETS = {ADAPTED: 4.0, BARE: 1.1}


@contextmanager
def vllm_server(base: Base, adapters: Mapping[str, Path]) -> Iterator[str]:
    """The address of a server of vLLM's with these adapters; without any LoRA is off."""
    dtype, port = dtype_name(choose_dtype("auto", torch.device("cpu"))), free_port()
    script = Path(__file__).parent / "peers" / "vllm_server.py"
    told = [port, base.name, base.folder, dtype, cores()]
    modules = [f"{OWNER}/{name}={folder}" for name, folder in adapters.items()]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [VLLM, script, *map(str, told), *modules],
            env=environment(VLLM),
            stdout=output,
            stderr=output,
        )
        try:
            _await(process, url := f"http://127.0.0.1:{port}")
            yield url
        finally:
            process.terminate()
            process.wait()


def _await(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").is_success:
                return
        time.sleep(1)
    raise SystemExit("vLLM's server does not start")


class Asked:
    """A server that the load tester asks, the same of each of them in turn."""

    def __init__(self, tester: Peer, url: str, case: str) -> None:
        self._tester = tester
        self._asks = {"url": url, "requests": REQUESTS, "models": MODELS[case]}
        self._seeds = count()
        self.found: list[dict[str, float]] = []
        """What it found in each round."""

    def __call__(self) -> float:
        """Tokens a second."""
        seed = next(self._seeds)
        found = self._tester(CLIENTS, PROMPT, ANSWER, seed=seed, **self._asks)
        assert found["failed"] == 0, found
        self.found.append(found)
        return found["output_throughput"]

    def median(self, figure: str) -> float:
        """Of one of its figures."""
        return statistics.median(each[figure] for each in self.found)


def figures(rates: Mapping[str, float], times: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """What was seen, and how much better than vLLM's it is.

    Args:
        rates: tokens a second, by server and case.
        times: milliseconds of each of TIMES, by the same.
    """
    found = [Figure(f"servers.{name}", rate, "tokens/s") for name, rate in rates.items()]
    for name, each in times.items():
        found += [Figure(f"servers.{name}.{what}", value, "ms") for what, value in each.items()]
    for case, target in TARGETS.items():
        ours, theirs = f"ours, {case}", f"vLLM, {case}"
        ratio = rates[ours] / rates[theirs]
        found.append(at_least(f"servers.ratio.{case}", ratio, "ratio", target))
        for what in TIMES:
            sooner = times[theirs][what] / times[ours][what]
            found.append(at_least(f"servers.ratio.{case}.{what}", sooner, "ratio", 1.0))
    return found


def measure(tester: Peer, urls: Mapping[str, str], rounds: int) -> list[Figure]:
    """Ask all of them in turn."""
    cases = {name: Asked(tester, url, name.partition(", ")[2]) for name, url in urls.items()}
    for case in cases.values():
        case()  # adapters are loaded before it counts
        case.found.clear()
    rates = alternating(dict[str, Callable[[], float]](cases), rounds)
    times = {
        name: {what: case.median(figure) for what, figure in TIMES.items()}
        for name, case in cases.items()
    }
    return figures(rates, times)


def run(settings: Settings, base: Base, rounds: int) -> list[Figure]:
    """Start the servers, and measure."""
    if not VLLM.exists():
        raise SystemExit("the load tester is vLLM's: `make vllm` installs it")
    with (
        registered(settings, base) as (home, adapters),
        peer(VLLM, "vllm_load.py", base.name, base.folder) as tester,
        vllm_server(base, adapters) as with_lora,
        vllm_server(base, {}) as without,
        running(home, MYRIAD_DEMOS="false") as cluster,
    ):
        assert tester is not None
        urls = {f"ours, {ADAPTED}": cluster.url, f"vLLM, {ADAPTED}": with_lora}
        urls |= {f"ours, {BARE}": cluster.url, f"vLLM, {BARE}": without}
        return measure(tester, urls, rounds)


def main() -> None:
    """Measure, print, and write what was asked for."""
    command(__doc__, 3, run)


if __name__ == "__main__":
    main()
