"""Which of very many vectors lie nearest to one, found without looking at all of them."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors

DEGREE = 16
CAREFUL, QUICK = 128, 64
"""Vectors that are looked at around the best ones while building, and at least while searching."""
SOME = 8192


class Graph:
    """A file with a graph of near neighbours (HNSW: Malkov and Yashunin 2018), memory-mapped.

    What it finds are nearly always the nearest.
    """

    def __init__(self, file: Path) -> None:
        """Open a graph that `build` wrote.

        Raises:
            OSError: the file is not there, or is none.
        """
        # Of use only to large catalogues, and not quick to import.
        from usearch.index import Index

        if not file.is_file():
            raise FileNotFoundError(file)
        try:
            found = Index.restore(file, view=True, expansion_search=QUICK)
        except RuntimeError as error:
            raise OSError(f"{file} is no graph: {error}") from error
        if found is None:
            raise OSError(f"{file} is no graph")
        self._index = found
        # A search of one query uses the buffers of the first thread, whichever thread asks.
        self._asking = threading.Lock()

    def __len__(self) -> int:
        """How many vectors there are."""
        return len(self._index)

    def nearest(self, query: NDArray[np.int8], count: int) -> tuple[NDArray[np.intp], Vectors]:
        """The names of the `count` nearest vectors, nearest first, and their cosines."""
        with self._asking:
            found = self._index.search(query, min(count, len(self)), threads=1)
        return found.keys.astype(np.intp), 1 - found.distances


def build(rows: NDArray[np.int8], names: NDArray[np.intp], file: Path, threads: int) -> None:
    """Write the graph of some rows.

    Args:
        rows: [all, dimensions], of any lengths above zero.
        names: the places of those that are in the graph, by which they are found.
        file: where it is written.
        threads: that build it.

    Raises:
        OSError: the file cannot be written.
    """
    from usearch.index import Index

    index = Index(
        ndim=rows.shape[1], metric="cos", dtype="i8", connectivity=DEGREE, expansion_add=CAREFUL
    )
    for start in range(0, len(names), SOME):
        some = names[start : start + SOME]
        index.add(some.astype(np.uint64), np.ascontiguousarray(rows[some]), threads=threads)
    try:
        index.save(file)
    except RuntimeError as error:
        raise OSError(f"{file} cannot be written: {error}") from error
