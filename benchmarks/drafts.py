"""Do guessed tokens pay? Tokens a second of the demo specialists, with drafts and without.

Each specialist answers its held-out requests, greedy, one after the other, and then all of them
their own at once, so many at a time. Every measurement begins with an engine that knows nothing.
"""

import argparse
import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import Row, alternating, at_least, write_json
from deploy.demos import EXAMPLES
from deploy.settings import read_settings
from registry.files import AdapterFiles
from specialists.base import Base, locate_base
from specialists.engine.engine import EngineOptions
from specialists.engine.runner import Runner
from specialists.training.data import Row as Chat
from specialists.training.data import read_rows
from specialists.training.evaluate import answer_greedily

AT_ONCE = (4, 16, 32)
LEAST = {1: 1.3, 4: 1.0, 16: 0.97, 32: 0.97}
"""Times the tokens a second without drafts, by how many requests are asked at once."""

Asked = list[tuple[str, Chat]]


@dataclass(frozen=True)
class Bench:
    """A base, and how many tokens are guessed at once."""

    base: Base
    drafts: int

    def rate(self, asked: Asked, at_once: int) -> float:
        """Tokens a second of the answers to all requests, from the first one on."""
        return asyncio.run(self._rate(asked, at_once))

    async def _rate(self, asked: Asked, at_once: int) -> float:
        runner = Runner.from_folder(
            self.base.folder,
            lambda name: AdapterFiles.in_folder(EXAMPLES / name / "adapter"),
            EngineOptions(drafts=self.drafts),
            max_waiting=len(asked),
        )
        try:
            for name in dict(asked):
                runner.prefetch(name, evicts=True)
            began = time.perf_counter()
            left = iter(asked)
            await asyncio.gather(*(_ask(runner, left) for _ in range(at_once)))
            return runner.stats()["generated_tokens_total"] / (time.perf_counter() - began)
        finally:
            runner.close()


async def _ask(runner: Runner, left: Iterable[tuple[str, Chat]]) -> None:
    for name, chat in left:
        await answer_greedily(runner, name, chat)


def heldout() -> dict[str, list[Chat]]:
    """Each demo specialist's requests."""
    return {
        folder.name: read_rows(folder / "heldout.jsonl")
        for folder in sorted(EXAMPLES.iterdir())
        if (folder / "heldout.jsonl").is_file()
    }


def cases(requests: dict[str, list[Chat]]) -> dict[str, tuple[Asked, int]]:
    """What is asked, and how many at once."""
    each = {name: [(name, chat) for chat in chats] for name, chats in requests.items()}
    mixed = [pair for pair in chain(*zip_longest(*each.values())) if pair is not None]
    return {name: (asked, 1) for name, asked in each.items()} | {
        f"all, {number} at once": (mixed, number) for number in AT_ONCE
    }


def main() -> None:
    """Measure each case with drafts and without, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drafts", type=int, default=EngineOptions.drafts)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    base = locate_base(settings.base, settings.home)
    asked = cases(heldout())
    found = alternating(
        {
            f"{name}/{drafts}": partial(Bench(base, drafts).rate, *case)
            for name, case in asked.items()
            for drafts in (0, arguments.drafts)
        },
        arguments.rounds,
    )
    table, rows = Table("requests", "without, tokens/s", "with", "times"), list[Row]()
    for name, (_, at_once) in asked.items():
        without, with_ = found[f"{name}/0"], found[f"{name}/{arguments.drafts}"]
        table.add_row(name, f"{without:.0f}", f"{with_:.0f}", f"{with_ / without:.2f}")
        rows.append(at_least(f"drafts.{name}", with_ / without, "ratio", LEAST[at_once]))
    Console().print(table)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
