"""Where commands write: results on stdout, notes and errors on stderr."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.errors import DeployError
from deploy.progress import Told, now_and_then, told
from registry.errors import RegistryError
from specialists.errors import SpecialistsError

FAILURES = (DeployError, RegistryError, SpecialistsError, OSError)
"""Errors whose message says to people what went wrong, and how to mend it."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """One command's output: for people, or with `as_json` one JSON object per line on stdout."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        # Named, not looked up at every line: a running cluster has another standard output.
        self.results = Console(
            file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self.notes = Console(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
        )

    @property
    def progress(self) -> Console:
        """Where the steps of a long command are told: stdout, unless that is for JSON alone."""
        return self.notes if self.as_json else self.results

    def show(self, value: Any, *views: RenderableType) -> None:
        """Print a result: `value` in JSON, or the views one below the other."""
        if self.as_json:
            self.json(value)
        else:
            for view in views:
                self.results.print(view)

    def json(self, value: Any) -> None:
        """Print one line of JSON."""
        self.results.out(json.dumps(value, ensure_ascii=False), highlight=False)
        self.results.file.flush()

    @contextmanager
    def told(self, event: str = "progress") -> Iterator[Told]:
        """What to call with the steps of long work; for programs they are events of this name."""

        def line(doing: str, done: int, of: int, detail: str = "") -> None:
            more = {"detail": detail} if detail else {}
            self.json({"event": event, "doing": doing, "done": done, "of": of, **more})

        if self.as_json:
            yield now_and_then(line)
        else:
            with told(self.progress) as tell:
                yield tell

    def note(self, text: str) -> None:
        """Tell people something that is not the result."""
        self.notes.print(printable(text), style="dim")

    def error(self, message: str) -> None:
        """Say what went wrong."""
        if self.as_json:
            self.json({"error": {"message": message}})
        else:
            self.notes.print(f"error: {printable(message)}", style="red")


def printable(text: object) -> str:
    """Text that others wrote, without what would steer a terminal."""
    return _UNPRINTABLE.sub("�", str(text))


def table(*columns: str) -> Table:
    """An empty table whose cells fold instead of losing their ends."""
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def add_row(grid: Table, *cells: object, style: str | None = None) -> None:
    """Add a row; None shows as nothing."""
    texts = (Text("" if cell is None else printable(cell)) for cell in cells)
    grid.add_row(*texts, style=style)


def facts(pairs: dict[str, object]) -> Table:
    """Names and values below each other; None is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        if value is not None:
            add_row(grid, name, value)
    return grid


def moment(seconds: int) -> str:
    """A Unix time as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def score(value: float | None) -> str:
    """A score as people read it."""
    return "" if value is None else f"{value:.2f}"
