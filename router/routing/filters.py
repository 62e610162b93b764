"""What a request asks of routing, and which specialists that leaves."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from registry.traits import Traits

NOTHING: frozenset[str] = frozenset()
PUBLIC, TAG = "public", "tag:"


@dataclass(frozen=True, slots=True)
class Filters:
    """Specialists that may be chosen: of these owners, with each of these tags, and so on.

    What is left empty lets all pass. All is case-folded, as traits are.

    Attributes:
        owners: whose they may be.
        tags: what each of them has.
        languages: one of which is theirs.
        licenses: one of which is theirs.
        blocked: ids, and owners all of whose specialists are left out.
    """

    owners: frozenset[str] = NOTHING
    tags: frozenset[str] = NOTHING
    languages: frozenset[str] = NOTHING
    licenses: frozenset[str] = NOTHING
    blocked: frozenset[str] = NOTHING

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any((self.owners, self.tags, self.languages, self.licenses, self.blocked))


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of routing beside its text.

    Attributes:
        filters: who may be chosen.
        preferred: ids, and owners, that go before others that are about as likely.
        threshold: what a specialist must reach, in the place of the policy's.
    """

    filters: Filters = field(default_factory=Filters)
    preferred: frozenset[str] = NOTHING
    threshold: float | None = None


class Marked(Protocol):
    """Numbered routes, found by their marks."""

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which numbers are still in use, [numbers]."""

    def having(self, mark: str) -> NDArray[np.bool_]:
        """Which numbers have a mark, [numbers]."""

    def number(self, specialist: str) -> int | None:
        """The number of one; None if it is not there."""


def marks(owner: str, public: bool, traits: Traits) -> Iterator[str]:
    """By which a route is found."""
    if public:
        yield PUBLIC
    yield f"owner:{owner}"
    yield f"language:{traits.language}"
    yield f"license:{traits.license}"
    yield from (f"{TAG}{tag}" for tag in traits.tags)


class Marks:
    """Numbers by mark, only ever added to."""

    def __init__(self) -> None:
        self._numbers: dict[str, array[int]] = {}

    def add(self, number: int, marked: Iterable[str]) -> None:
        """Note the marks of the next number."""
        for mark in marked:
            self._numbers.setdefault(mark, array("q")).append(number)

    def tags(self) -> Iterator[tuple[str, int]]:
        """The tags, and how many numbers have each."""
        for mark, numbers in list(self._numbers.items()):
            if mark.startswith(TAG):
                yield mark.removeprefix(TAG), len(numbers)

    def having(self, mark: str, end: int) -> NDArray[np.bool_]:
        """Which of the numbers below `end` have a mark, [end]."""
        found = np.array(self._numbers.get(mark, ()), dtype=np.intp)
        among = np.zeros(end, dtype=np.bool_)
        among[found[: np.searchsorted(found, end)]] = True
        return among


def passing(marked: Marked, owner: str | None, filters: Filters) -> NDArray[np.bool_]:
    """Which routes an owner's request may be routed to, [numbers].

    Args:
        marked: the routes.
        owner: whose request it is; None sees what is private too.
        filters: what the request asks for.
    """
    shown = np.ones(len(marked.alive), dtype=np.bool_)
    for group in _groups(owner, filters):
        shown &= np.logical_or.reduce([marked.having(mark) for mark in group])
    for name in filters.blocked:
        if "/" not in name:
            shown &= ~marked.having(f"owner:{name}")
        elif (number := marked.number(name)) is not None:
            shown[number] = False
    return shown


def _groups(owner: str | None, filters: Filters) -> Iterator[list[str]]:
    """Marks of each group one must be there."""
    if owner is not None:
        yield [PUBLIC, f"owner:{owner}"]
    yield from ([f"{TAG}{tag}"] for tag in filters.tags)
    among = {"owner": filters.owners, "language": filters.languages, "license": filters.licenses}
    for kind, names in among.items():
        if names:
            yield [f"{kind}:{name}" for name in names]
