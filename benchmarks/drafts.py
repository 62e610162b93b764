"""Do guessed tokens pay? Tokens a second of the demo specialists, with drafts and without.

Each specialist answers its held-out requests, greedy, one after the other, and then all of them
their own at once, so many at a time. Every measurement begins with an engine that knows nothing.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.demos import engine, heldout
from benchmarks.report import Row, alternating, at_least, write_json
from deploy.settings import read_settings
from specialists.base import Base, locate_base
from specialists.engine.backend import Request
from specialists.engine.core import SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.grammar import Grammar
from specialists.engine.habits import Expected
from specialists.engine.runner import Runner
from specialists.training.data import Row as Chat

AT_ONCE = (4, 16, 32)
LEAST = {1: 1.0, 4: 0.97, 16: 0.97, 32: 0.97}
"""Times the tokens a second without drafts, by how many requests are asked at once."""
FORM = "support-extractor"
SCHEMA = {
    "type": "object",
    "properties": {
        "product": {"type": "string"},
        "issue": {"type": "string"},
        "order_id": {"type": ["string", "null"]},
        "urgency": {"enum": ["low", "medium", "high"]},
    },
    "required": ["product", "issue", "order_id", "urgency"],
    "additionalProperties": False,
}
"""Of this one's answers."""
MOST_TOKENS = 100


@dataclass(frozen=True)
class Case:
    """What is asked of an engine that knows nothing.

    Attributes:
        asked: of which specialist, and what.
        at_once: how many requests.
        schema: of all answers; None leaves them free.
        foretold: whether each comes with the answer that is wanted.
    """

    asked: tuple[tuple[str, Chat], ...]
    at_once: int = 1
    schema: dict[str, object] | None = None
    foretold: bool = False

    def rate(self, base: Base, drafts: int) -> float:
        """Tokens a second of the answers to all requests, from the first one on."""
        return asyncio.run(self._rate(base, drafts))

    async def _rate(self, base: Base, drafts: int) -> float:
        runner = engine(base, EngineOptions(drafts=drafts), len(self.asked))
        try:
            grammar = runner.grammars.of_schema(json.dumps(self.schema)) if self.schema else None
            left = iter(self.asked)
            began = time.perf_counter()
            await asyncio.gather(*(self._ask(runner, left, grammar) for _ in range(self.at_once)))
            return runner.stats()["generated_tokens_total"] / (time.perf_counter() - began)
        finally:
            runner.close()

    async def _ask(
        self, runner: Runner, left: Iterable[tuple[str, Chat]], grammar: Grammar | None
    ) -> None:
        for name, chat in left:
            prompt = runner.tokenizer.encode_chat(chat.request, tools=chat.tools)
            answer = runner.tokenizer.encode_answer(chat.answer.content, MOST_TOKENS)
            request = Request(
                "benchmark", name, prompt, 1, SamplingParams(MOST_TOKENS, temperature=0.0),
                grammar=grammar, expected=Expected(prompt, answer) if self.foretold else None,
            )  # fmt: skip
            async for _ in runner.generate(request):
                pass


def cases(requests: dict[str, list[Chat]]) -> dict[str, Case]:
    """What is asked."""
    each = {name: tuple((name, chat) for chat in chats) for name, chats in requests.items()}
    mixed = tuple(pair for pair in chain(*zip_longest(*each.values())) if pair is not None)
    return {
        **{name: Case(asked) for name, asked in each.items()},
        f"{FORM}, by a schema": Case(each[FORM], schema=SCHEMA),
        f"{FORM}, foretold": Case(each[FORM], foretold=True),
        **{f"all, {number} at once": Case(mixed, number) for number in AT_ONCE},
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
    measured = cases(heldout())
    found = alternating(
        {
            f"{name}/{drafts}": partial(case.rate, base, drafts)
            for name, case in measured.items()
            for drafts in (0, arguments.drafts)
        },
        arguments.rounds,
    )
    table, rows = Table("requests", "without, tokens/s", "with", "times"), list[Row]()
    for name, case in measured.items():
        without, guessed = found[f"{name}/0"], found[f"{name}/{arguments.drafts}"]
        table.add_row(name, f"{without:.0f}", f"{guessed:.0f}", f"{guessed / without:.2f}")
        rows.append(at_least(f"drafts.{name}", guessed / without, "ratio", LEAST[case.at_once]))
    Console().print(table)
    write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
