"""Writes packs: of routes in memory, or, in a process apart, of other packs.

`python -m router.routing.packing FOLDER` reads from its standard input what to put together.
"""

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.routing.columns import ENDS, PER_ROUTE, Columns, file_of, inverted
from router.routing.graph import build
from router.routing.pack import SCANNED, Pack, graph_file, prototypes_by_class
from router.routing.route import Route

PART = ".part-"
NICENESS = 10


def write(folder: Path, routes: Sequence[Route]) -> Path:
    """Write a pack of some routes below a folder; returns its own folder.

    Raises:
        OSError: it cannot be written.
    """
    columns = Columns.of(routes)
    with _whole(folder) as (part, done):
        for field in fields(columns):
            _save(part, field.name, getattr(columns, field.name))
    return done


def merge(folder: Path, packs: Sequence[Pack], threads: int) -> Path:
    """Write a pack of all routes in use of several; returns its own folder.

    Raises:
        OSError: it cannot be written.
    """
    with _whole(folder) as (part, done):
        merging = _Merging.of(packs)
        for name in PER_ROUTE:
            _save(part, name, merging.ordered(name))
        _save(part, "ids", merging.ids)
        for name in ("values", "scales", "prototypes", "rest"):
            merging.write_parts(part, name)
        marks = inverted(merging.marked())
        for name, array in zip(("marks", "marked_ends", "marked"), marks, strict=True):
            _save(part, name, array)
        _build_graphs(part, threads)
    return done


def _build_graphs(folder: Path, threads: int) -> None:
    """Write a graph for each class of routes that has many prototypes."""
    columns = Columns.mapped(folder)
    for number, names in enumerate(prototypes_by_class(columns)):
        if len(names) > SCANNED:
            build(columns.prototypes, names, graph_file(folder, number), threads)


@dataclass(frozen=True, slots=True)
class _Merging:
    """What is put together: of each route in use, in order, the pack that has it, and where."""

    sources: Sequence[Columns]
    ids: NDArray[np.bytes_]
    which: NDArray[np.intp]
    number: NDArray[np.intp]

    @classmethod
    def of(cls, packs: Sequence[Pack]) -> "_Merging":
        sources = [pack.columns for pack in packs]
        numbers = [np.flatnonzero(pack.alive) for pack in packs]
        each = zip(sources, numbers, strict=True)
        ids = np.concatenate([columns.ids[some] for columns, some in each])
        which = np.repeat(np.arange(len(packs)), [len(some) for some in numbers])
        order = np.argsort(ids, kind="stable")
        return cls(sources, ids[order], which[order], np.concatenate(numbers)[order])

    def ordered(self, name: str) -> NDArray[Any]:
        """A column of one entry per route."""
        columns = [getattr(source, name) for source in self.sources]
        found = np.empty(len(self.ids), dtype=np.result_type(*columns))
        for at, column in enumerate(columns):
            mine = self.which == at
            found[mine] = column[self.number[mine]]
        return found

    def write_parts(self, folder: Path, name: str) -> None:
        """Write a column of varying lengths, and where each route's part ends."""
        sizes = self._sizes(name)
        ends = np.cumsum(sizes, dtype=np.int64)
        _save(folder, ENDS[name], ends)
        like = getattr(self.sources[0], name)
        out = np.lib.format.open_memmap(
            file_of(folder, name), "w+", like.dtype, (int(ends[-1]), *like.shape[1:])
        )
        for at, (which, number) in enumerate(zip(self.which, self.number, strict=True)):
            out[ends[at] - sizes[at] : ends[at]] = self.sources[which].part(name, number)
        out.flush()

    def marked(self) -> dict[bytes, list[NDArray[np.int32]]]:
        """Where the routes of each mark come to stand."""
        found: dict[bytes, list[NDArray[np.int32]]] = {}
        for at, source in enumerate(self.sources):
            place = np.full(len(source), -1, dtype=np.int32)
            mine = np.flatnonzero(self.which == at)
            place[self.number[mine]] = mine
            for mark in range(len(source.marks)):
                moved = place[source.part("marked", mark)]
                left = moved[moved >= 0]
                if len(left):
                    found.setdefault(bytes(source.marks[mark]), []).append(left)
        return found

    def _sizes(self, name: str) -> NDArray[np.int64]:
        sizes = np.empty(len(self.ids), dtype=np.int64)
        for at, source in enumerate(self.sources):
            mine = self.which == at
            of_all = np.diff(getattr(source, ENDS[name]), prepend=0)
            sizes[mine] = of_all[self.number[mine]]
        return sizes


def _save(folder: Path, name: str, array: NDArray[Any]) -> None:
    with file_of(folder, name).open("wb") as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def _whole(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A folder to write to, and the one that it is once all is written and on the disk."""
    # Closed to others: what a text said can be guessed from its vector.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = uuid.uuid4().hex[:16]
    part, done = folder / f"{PART}{name}", folder / name
    part.mkdir(mode=0o700)
    try:
        yield part, done
        for file in part.iterdir():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        part.rename(done)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def main(folder: str) -> None:
    """Merge the packs that standard input names, each with its numbers that are gone."""
    os.nice(NICENESS)
    asked = json.load(sys.stdin)
    packs = [Pack(Path(folder) / each["name"], each["gone"]) for each in asked]
    print(merge(Path(folder), packs, os.cpu_count() or 1).name)  # noqa: T201 (read by who began it)


if __name__ == "__main__":
    main(sys.argv[1])
