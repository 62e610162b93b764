"""The arrays of a pack: what there is of each route at one place, in the order of their ids."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.traits import Traits
from registry.version import Canary
from registry.view import Visibility
from router.routing.compact import Compact
from router.routing.index import length_of_mean, prototypes
from router.routing.route import Route

VISIBILITIES = tuple(Visibility)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The routes' arrays, in memory or mapped.

    What is of varying length lies end to end in an array of its own, and another says where each
    route's, or each mark's, ends.

    Attributes:
        ids: bytes [routes], ascending.
        digests: bytes [routes].
        versions: int32 [routes].
        since: float64 [routes], Unix seconds.
        visibilities: uint8 [routes], places in VISIBILITIES.
        lengths: float32 [routes], of the mean of each route's vectors.
        sizes: intp [routes], vectors of each.
        ends: int64 [routes], where they end.
        values: int8 [vectors, dimensions].
        scales: float32 [vectors].
        prototype_ends: int64 [routes].
        prototypes: int8 [prototypes, coordinates by which routes are found].
        rest_ends: int64 [routes].
        rest: uint8 [bytes], JSON of traits and canary.
        marks: bytes [marks], ascending.
        marked_ends: int64 [marks].
        marked: int32, the routes that have each mark, ascending.
    """

    ids: NDArray[np.bytes_]
    digests: NDArray[np.bytes_]
    versions: NDArray[np.int32]
    since: NDArray[np.float64]
    visibilities: NDArray[np.uint8]
    lengths: NDArray[np.float32]
    sizes: NDArray[np.intp]
    ends: NDArray[np.int64]
    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    prototype_ends: NDArray[np.int64]
    prototypes: NDArray[np.int8]
    rest_ends: NDArray[np.int64]
    rest: NDArray[np.uint8]
    marks: NDArray[np.bytes_]
    marked_ends: NDArray[np.int64]
    marked: NDArray[np.int32]

    @classmethod
    def of(cls, routes: Sequence[Route]) -> "Columns":
        """The columns of some routes, at least one."""
        routes = sorted(routes, key=lambda route: route.specialist.encode())
        rows = Compact.together([route.rows for route in routes])
        exact = [route.vectors for route in routes]
        found = [Compact.of(prototypes(each)).values for each in exact]
        rest = [_rest(route) for route in routes]
        marks, marked_ends, marked = _inverted(routes)
        return cls(
            ids=np.array([route.specialist.encode() for route in routes]),
            digests=np.array([route.digest.encode() for route in routes]),
            versions=np.array([route.version for route in routes], dtype=np.int32),
            since=np.array([route.since for route in routes]),
            visibilities=np.array(
                [VISIBILITIES.index(route.visibility) for route in routes], dtype=np.uint8
            ),
            lengths=np.array([length_of_mean(each) for each in exact], dtype=np.float32),
            sizes=np.array([len(route.rows) for route in routes], dtype=np.intp),
            ends=np.cumsum([len(route.rows) for route in routes], dtype=np.int64),
            values=rows.values,
            scales=rows.scales,
            prototype_ends=np.cumsum([len(each) for each in found], dtype=np.int64),
            prototypes=np.concatenate(found),
            rest_ends=np.cumsum([len(each) for each in rest], dtype=np.int64),
            rest=np.frombuffer(b"".join(rest), dtype=np.uint8),
            marks=marks,
            marked_ends=marked_ends,
            marked=marked,
        )

    @classmethod
    def mapped(cls, folder: Path) -> "Columns":
        """The columns that were written to a folder.

        Raises:
            OSError, ValueError: they are not there, or not whole.
        """
        columns = cls(*(_mapped(file_of(folder, field.name)) for field in fields(cls)))
        columns._require_whole()
        return columns

    def __len__(self) -> int:
        """How many routes there are."""
        return len(self.ids)

    def route(self, number: int) -> Route:
        """The route at a place."""
        rest = json.loads(self.part("rest", number).tobytes())
        return Route(
            self.ids[number].decode(),
            int(self.versions[number]),
            self.digests[number].decode(),
            self.rows(number),
            float(self.since[number]),
            Canary(*rest["canary"]) if rest["canary"] else None,
            VISIBILITIES[self.visibilities[number]],
            Traits.stored(rest["traits"]),
        )

    def rows(self, number: int) -> Compact:
        """The vectors of the route at a place."""
        end = int(self.ends[number])
        some = slice(end - int(self.sizes[number]), end)
        return Compact(self.values[some], self.scales[some])

    def part(self, name: str, number: int) -> NDArray[Any]:
        """What of an array of varying lengths is a route's, or a mark's."""
        ends: NDArray[np.int64] = getattr(self, ENDS[name])
        whole: NDArray[Any] = getattr(self, name)
        return whole[ends[number - 1] if number else 0 : ends[number]]

    def _require_whole(self) -> None:
        for name, ends in ENDS.items():
            if len(getattr(self, name)) != getattr(self, ends)[-1]:
                raise ValueError(f"{name} is not whole")
        per_route = (*PER_ROUTE, "ends", "prototype_ends", "rest_ends")
        if {len(getattr(self, name)) for name in per_route} != {len(self.ids)}:
            raise ValueError("not all columns are of the same length")
        if len(self.marks) != len(self.marked_ends):
            raise ValueError("marks are not whole")


PER_ROUTE = ("digests", "versions", "since", "visibilities", "lengths", "sizes")
"""The columns of one entry per route, beside their ids."""
ENDS = {
    "values": "ends",
    "scales": "ends",
    "prototypes": "prototype_ends",
    "rest": "rest_ends",
    "marked": "marked_ends",
}
"""The arrays of varying lengths, and what says where each part ends."""


def file_of(folder: Path, name: str) -> Path:
    """The file of a column."""
    return folder / f"{name}.npy"


def _mapped(file: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(file, mmap_mode="r"))
    except EOFError as error:
        raise ValueError(f"{file} is empty") from error


def inverted(marked: Mapping[bytes, Sequence[NDArray[np.int32]]]) -> tuple[Any, Any, Any]:
    """Marks ascending, where the routes of each end, and these routes."""
    names = sorted(marked)
    each = [np.sort(np.concatenate(marked[name])) for name in names]
    ends = np.cumsum([len(found) for found in each], dtype=np.int64)
    return np.array(names), ends, np.concatenate(each).astype(np.int32)


def _inverted(routes: Sequence[Route]) -> tuple[Any, Any, Any]:
    marked: dict[bytes, list[int]] = {}
    for number, route in enumerate(routes):
        for mark in route.marks:
            marked.setdefault(mark.encode(), []).append(number)
    return inverted({mark: [np.array(each, np.int32)] for mark, each in marked.items()})


def _rest(route: Route) -> bytes:
    canary = route.canary
    fields = {
        "traits": route.traits.text,
        "canary": [canary.number, canary.digest, canary.share] if canary else None,
    }
    return json.dumps(fields, separators=(",", ":")).encode()
