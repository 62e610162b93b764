"""A decoding step as a CUDA graph: recorded once, and replayed on other numbers."""

from collections.abc import Sequence
from typing import Any

import torch

from specialists.engine.batch import Batch, Segment
from specialists.engine.core import Run
from specialists.engine.gpu.adapters import GpuAdapter, Tiles, tiles_of
from specialists.engine.gpu.attention import Paged
from specialists.engine.llama import Llama
from specialists.engine.pages import PAGE_TOKENS, KVCache

COLUMNS = 6
"""Token, position, and store of each row; and of each tile of adapters start, count and table."""
MOST_RANKS = 256


class DecodeGraph:
    """A step of up to `rows` rows of one token each."""

    def __init__(
        self, llama: Llama, cache: KVCache, rows: int, width: int, pool: Any, *, mixed: bool
    ) -> None:
        """Record it.

        Args:
            llama: the base.
            cache: its keys and values; the last page is written to by rows that are not there.
            rows: of a step.
            width: pages of a row at most.
            pool: of the memory that graphs share, which are never replayed side by side.
            mixed: whether there are adapters.
        """
        self.rows = rows
        self._spare = len(cache.keys[0]) - 1
        size = rows * (COLUMNS + width)
        self._given = torch.zeros(size, dtype=torch.int64, pin_memory=True)
        self._taken = torch.zeros(size, dtype=torch.int64, device=llama.device)
        self._columns, self._table = (part.numpy() for part in _parts(self._given, rows))
        self._batch = _batch(llama, *_parts(self._taken, rows), mixed=mixed)
        self._write((), ())
        self._taken.copy_(self._given)
        self._graph = torch.cuda.CUDAGraph()
        # Kernels are compiled, and libraries set up, before anything is recorded.
        llama.forward(self._batch, cache)
        with torch.cuda.graph(self._graph, pool=pool):
            self._logits = llama.forward(self._batch, cache)

    def __call__(
        self, runs: Sequence[Run], segments: Sequence[Segment[GpuAdapter]]
    ) -> torch.Tensor:
        """Compute a step: float32 logits [runs, vocabulary], which the next one overwrites."""
        self._write(runs, segments)
        self._taken.copy_(self._given)
        self._graph.replay()
        return self._logits[: len(runs)]

    def _write(self, runs: Sequence[Run], segments: Sequence[Segment[GpuAdapter]]) -> None:
        columns = self._columns
        columns[:] = 0
        columns[2] = self._spare * PAGE_TOKENS
        self._table[:, 0] = self._spare
        for at, run in enumerate(runs):
            row, place = run.row, run.row.computed
            page, beyond = divmod(place, PAGE_TOKENS)
            store = row.pages[page] * PAGE_TOKENS + beyond
            columns[:3, at] = row.tokens[place], place, store
            self._table[at, : page + 1] = row.pages[: page + 1]
        for at, tile in enumerate(tiles_of(segments)):
            columns[3:, at] = tile


def recordable(runs: Sequence[Run], segments: Sequence[Segment[GpuAdapter]]) -> bool:
    """Whether a graph of enough rows computes a step of these runs."""
    return all(run.width == 1 and run.samples for run in runs) and all(
        segment.adapter.most <= MOST_RANKS for segment in segments
    )


def _parts(numbers: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The columns [COLUMNS, rows] and the table of pages [rows, width]."""
    columns, table = numbers[: COLUMNS * rows], numbers[COLUMNS * rows :]
    return columns.view(COLUMNS, rows), table.view(rows, -1)


def _batch(llama: Llama, columns: torch.Tensor, table: torch.Tensor, *, mixed: bool) -> Batch:
    tokens, positions, stores, starts, counts, tables = columns
    rows = torch.arange(len(tokens), device=llama.device)
    return Batch(
        tokens=tokens,
        positions=positions,
        stores=stores,
        attention=Paged(rows, torch.ones_like(rows), positions, rows, table, tokens=1),
        adapters=Tiles(starts, counts, tables, MOST_RANKS, llama.widths) if mixed else None,
        samples=rows,
    )
