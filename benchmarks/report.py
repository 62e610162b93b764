"""What every benchmark reports: rows for machines, beside what it prints for people."""

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.progress import told
from deploy.settings import Settings, read_settings
from specialists.base import Base, locate_base


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        name: what was measured, with dots from the general to the particular.
        value: in `unit`.
        unit: such as "share", "s", "tokens/s", "ratio".
        target: what it should reach, if anything was promised.
        met: whether it did; None without a target.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    met: bool | None = None


def at_least(name: str, value: float, unit: str, target: float) -> Row:
    """A row whose value should be no smaller than its target."""
    return Row(name, value, unit, target, value >= target)


def at_most(name: str, value: float, unit: str, target: float) -> Row:
    """A row whose value should be no larger than its target."""
    return Row(name, value, unit, target, value <= target)


def write_json(file: Path | None, rows: Iterable[Row]) -> None:
    """Write the rows as a JSON list, when a file was asked for."""
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def show(rows: Iterable[Row]) -> None:
    """Print the rows as a table."""
    table = Table("what", "value", "", "target")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g} {'met' if row.met else 'MISSED'}"
        table.add_row(row.name, f"{row.value:.2f}", row.unit, target)
    Console().print(table)


def command(
    about: str | None, rounds: int, run: Callable[[Settings, Base, int], list[Row]]
) -> None:
    """What a benchmark does that takes nothing but rounds: measure, print, and write.

    Args:
        about: what it says of itself.
        rounds: as many as there are unless others are asked for.
        run: measures on a base, so many rounds.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    settings = read_settings()
    rows = run(settings, locate_base(settings.base, settings.home), arguments.rounds)
    show(rows)
    write_json(arguments.json, rows)


def alternating(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure all cases turn by turn, so many rounds; the median of each."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    turns = [*cases.items()] * rounds
    with told(Console(stderr=True)) as tell:
        for number, (name, case) in enumerate(turns):
            tell("Measuring", number, len(turns), name)
            found[name].append(case())
        tell("Measuring", len(turns), len(turns))
    return {name: statistics.median(values) for name, values in found.items()}
