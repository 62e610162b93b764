"""What every benchmark reports: rows for machines, beside what it prints for people."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


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
