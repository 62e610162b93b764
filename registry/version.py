"""What the catalogue gives out: immutable views of specialists' versions."""

from dataclasses import dataclass
from datetime import datetime

from registry.card import Card
from registry.files import AdapterFiles
from registry.gates import Gate
from registry.traits import Traits
from registry.view import Visibility


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a specialist. `created` is in UTC, `number` counts from 1.

    `quarantined` says why nobody is answered by it until an admin released it, `problem` what this
    release cannot read of the stored card, which `card` then lacks.
    """

    id: str
    number: int
    digest: str
    kind: str
    card: Card
    created: datetime
    files: AdapterFiles
    visibility: Visibility
    quarantined: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A version without its card. `created` is in UTC, `number` counts from 1."""

    number: int
    digest: str
    kind: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for one of a specialist's versions.

    `protected` says that it moves only for those who expect it where it is, `gates` what a version
    must have scored before it is pointed there.
    """

    name: str
    number: int
    digest: str
    protected: bool
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """Where an alias went, and why; nowhere when it was taken away. `created` is in UTC.

    `overridden` says why its gates would have refused the version.
    """

    number: int | None
    digest: str | None
    reason: str | None
    created: datetime
    overridden: str | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that a share (0 to 1) of the requests for an alias get, while it is tried.

    `verdict` says why it was taken back, and has none of them any longer.
    """

    number: int
    digest: str
    share: float
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """What routing needs of a specialist's live version: not its card, which may be long.

    `created` is the version's time, `since` that of the specialist's first one, both in UTC.
    """

    id: str
    number: int
    digest: str
    created: datetime
    since: datetime
    visibility: Visibility
    traits: Traits
    canary: Canary | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to the specialist `id`.

    `live` is what it is now, however many changes followed; None once it is retired.
    """

    seq: int
    id: str
    live: Live | None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list; `next_cursor` asks for the part after it, None ends the list."""

    data: list[Version]
    next_cursor: str | None
