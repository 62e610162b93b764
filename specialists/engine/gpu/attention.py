"""Attention straight over the pages."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton

from specialists.engine.batching import padded, starts_of
from specialists.engine.core import Run
from specialists.engine.gpu import kernels
from specialists.engine.gpu.tiles import TILE, cut
from specialists.engine.pages import pages_needed

BLOCK = 64
"""Stored tokens that are read at once."""


@dataclass(frozen=True, slots=True)
class Paged:
    """Tokens of a batch by row, a few to a tile; see `Attention`.

    Attributes:
        starts, counts: [tiles] which tokens are in each.
        positions: [tiles] of the first of them in its row.
        rows: [tiles] lines of the table.
        table: [rows, pages] the pages of each row.
        tokens: of a tile at most.
    """

    starts: torch.Tensor
    counts: torch.Tensor
    positions: torch.Tensor
    rows: torch.Tensor
    table: torch.Tensor
    tokens: int

    @classmethod
    def of(cls, runs: Sequence[Run], device: torch.device) -> "Paged":
        """Those of a batch's runs."""
        width = pages_needed(max(run.row.computed + run.width for run in runs))
        table = torch.tensor([padded(run.row.pages, width) for run in runs], device=device)
        columns = torch.tensor(_tiles(runs), device=device).T.contiguous()
        return cls(columns[0], columns[1], columns[2], columns[3], table, TILE)

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Attention`."""
        (tokens, heads, dim), (_, page, kv_heads, _) = queries.shape, keys.shape
        out = queries.new_empty((tokens, heads, dim))
        group = triton.next_power_of_2(heads // kv_heads)
        kernels.attend[len(self.starts), kv_heads](
            queries,
            keys,
            values,
            out,
            self.starts,
            self.counts,
            self.positions,
            self.rows,
            self.table,
            dim**-0.5,
            self.table.shape[1],
            queries.stride(0),
            HEADS=heads,
            KV_HEADS=kv_heads,
            DIM=dim,
            PAGE=page,
            TOKENS=self.tokens,
            GROUP=max(group, TILE // self.tokens),
            LANES=max(triton.next_power_of_2(dim), TILE),
            BLOCK=BLOCK,
        )
        return out


def _tiles(runs: Sequence[Run]) -> list[tuple[int, int, int, int]]:
    return [
        (at, count, run.row.computed + at - start, row)
        for row, (start, run) in enumerate(zip(starts_of(runs), runs, strict=True))
        for at, count in cut(start, run.width)
    ]
