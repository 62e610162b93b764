"""Is the right specialist chosen, and does it help? On any folder of chat-format tasks.

For each sub-folder with `train.jsonl` and `test.jsonl`: trains a specialist, registers it on a
running cluster with examples taken from its training rows, then sends every test request of every
task to the base, to `auto`, and to the specialist by name.
"""

import argparse
import asyncio
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
from openai import AsyncOpenAI
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from transformers.utils import logging

from benchmarks.report import Row, write_json
from deploy.settings import Settings, read_settings
from registry.effort import Effort
from registry.files import CONFIG, WEIGHTS
from specialists.base import Base, locate_base
from specialists.training import data
from specialists.training.finetune import finetune
from specialists.training.metrics import same_answer
from specialists.training.recipe import recipe_for

OWNER = "mixed-tasks"
EXAMPLES = 128
MAX_TOKENS = 96
CONNECTIONS = 32
COLUMNS = ("base", "routed", "oracle", "routing")

console = Console()


@dataclass(frozen=True)
class Task:
    """One sub-folder: rows to learn from, rows to ask."""

    name: str
    train: list[data.Row]
    test: list[data.Row]

    @property
    def specialist(self) -> str:
        """The specialist's id."""
        return f"{OWNER}/{self.name.lower()}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test request: was each answer exact, and was the right specialist chosen."""

    base: bool
    routed: bool
    oracle: bool
    routing: bool


def main() -> None:
    """Train, register, ask, print."""
    arguments = _arguments()
    logging.disable_progress_bar()
    settings = read_settings()
    url = (arguments.url or settings.server_url).rstrip("/")
    base = locate_base(settings.base, settings.home)
    tasks = read_tasks(arguments.data)
    _require_server(url)
    adapters = {
        task.name: _train(task, base, arguments.effort, _folder(settings)) for task in tasks
    }
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        for task in tasks:
            _register(http, task, adapters[task.name])
        try:
            outcomes = asyncio.run(_ask_all(url, base.name, tasks))
        finally:
            for task in tasks if not arguments.keep else ():
                http.delete(f"/v1/specialists/{task.specialist}")
    _print(outcomes)
    write_json(arguments.json, _rows(outcomes))


def read_tasks(folder: Path) -> list[Task]:
    """The sub-folders that hold a task, in the order of their names."""
    found = [
        Task(sub.name, data.read_rows(sub / "train.jsonl"), data.read_rows(sub / "test.jsonl"))
        for sub in sorted(folder.iterdir())
        if (sub / "train.jsonl").is_file() and (sub / "test.jsonl").is_file()
    ]
    if not found:
        raise SystemExit(f"{folder} has no sub-folder with train.jsonl and test.jsonl")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--url", help="the cluster; default: the one that MYRIAD_PORT names")
    parser.add_argument("--effort", choices=get_args(Effort), default="standard")
    parser.add_argument("--keep", action="store_true", help="leave the specialists registered")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


def _folder(settings: Settings) -> Path:
    return settings.home / "benchmarks" / "mixed_tasks"


def _require_server(url: str) -> None:
    try:
        httpx.get(f"{url}/readyz", trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        message = f"no cluster is ready at {url} ({error}): start one with `make up`"
        raise SystemExit(message) from None


def _train(task: Task, base: Base, effort: Effort, root: Path) -> Path:
    """The task's adapter; one that was trained earlier from the same rows is used again."""
    recipe = recipe_for(len(task.train), effort)
    content = json.dumps([row.model_dump() for row in task.train]) + repr(recipe) + base.name
    folder = root / f"{task.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if (folder / WEIGHTS).exists():
        return folder
    with Progress(console=console) as bars:
        bar = bars.add_task(f"Training {task.name}", total=None)
        trained = finetune(
            base,
            task.train,
            folder,
            recipe,
            lambda step: bars.update(bar, total=step.steps, completed=step.step),
        )
    console.print(f"{task.name}: {trained.rows} rows in {trained.seconds:.0f} s")
    return folder


def _register(http: httpx.Client, task: Task, folder: Path) -> None:
    card = {
        "id": task.specialist,
        "description": task.name.replace("-", " "),
        "examples": _spread([row.first_request for row in task.train]),
    }
    files = [("files", (name, (folder / name).read_bytes())) for name in (CONFIG, WEIGHTS)]
    response = http.post("/v1/specialists", data={"card": json.dumps(card)}, files=files)
    if response.is_error:
        raise SystemExit(f"{task.specialist} was refused: {response.text}")


def _spread(requests: Iterable[str]) -> list[str]:
    """At most EXAMPLES different ones, evenly spread over all."""
    different = list(dict.fromkeys(requests))
    step = max(len(different) / EXAMPLES, 1.0)
    return [different[int(at * step)] for at in range(min(EXAMPLES, len(different)))]


async def _ask_all(url: str, base: str, tasks: list[Task]) -> dict[str, list[Outcome]]:
    gate = asyncio.Semaphore(CONNECTIONS)
    rows = sum(len(task.test) for task in tasks)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=5) as client:
        with Progress(console=console) as bars:
            bar = bars.add_task("Asking", total=rows)

            async def ask(task: Task, row: data.Row) -> Outcome:
                async with gate:
                    outcome = await _outcome(client, base, task, row)
                bars.advance(bar)
                return outcome

            return {
                task.name: await asyncio.gather(*(ask(task, row) for row in task.test))
                for task in tasks
            }


async def _outcome(client: AsyncOpenAI, base: str, task: Task, row: data.Row) -> Outcome:
    messages: Any = [{"role": turn.role, "content": turn.content} for turn in row.request]

    async def answer(model: str) -> tuple[bool, str | None]:
        completion = await client.chat.completions.create(
            model=model, messages=messages, temperature=0, max_tokens=MAX_TOKENS
        )
        text = completion.choices[0].message.content or ""
        routing = (completion.model_extra or {})["routing"]
        return bool(same_answer(text, row.answer.content)), routing["specialist"]

    bare, _ = await answer(base)
    routed, chosen = await answer("auto")
    oracle, _ = await answer(task.specialist)
    return Outcome(bare, routed, oracle, chosen == task.specialist)


def _share(outcomes: list[Outcome], what: str) -> float:
    hits: int = sum(getattr(outcome, what) for outcome in outcomes)
    return hits / len(outcomes)


def _with_overall(outcomes: dict[str, list[Outcome]]) -> dict[str, list[Outcome]]:
    return outcomes | {"overall": [each for task in outcomes.values() for each in task]}


def _print(outcomes: dict[str, list[Outcome]]) -> None:
    table = Table("task", "requests", "base", "routed", "oracle", "routing accuracy")
    for name, answers in _with_overall(outcomes).items():
        shares = [f"{_share(answers, column):.2f}" for column in COLUMNS]
        table.add_row(name, str(len(answers)), *shares, end_section=name == list(outcomes)[-1])
    console.print(table)


def _rows(outcomes: dict[str, list[Outcome]]) -> list[Row]:
    return [
        Row(f"mixed_tasks.{name}.{what}", round(_share(answers, what), 4), "share")
        for name, answers in _with_overall(outcomes).items()
        for what in COLUMNS
    ]


if __name__ == "__main__":
    main()
