"""What the catalogue gives out: immutable views of specialists' versions."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from registry.card import Card


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Where an adapter's two files lie, readable for as long as the registry exists."""

    config: Path
    weights: Path


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a specialist. `created` is in UTC, `number` counts from 1."""

    id: str
    number: int
    digest: str
    kind: str
    card: Card
    created: datetime
    files: AdapterFiles


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to the specialist `id`.

    `version` is what it is now, however many changes followed; None once it is retired.
    """

    seq: int
    id: str
    version: Version | None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list; `next_cursor` asks for the part after it, None ends the list."""

    data: list[Version]
    next_cursor: str | None
