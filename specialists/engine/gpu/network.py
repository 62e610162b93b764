"""The network on a GPU: the reference's forward pass, with other adapters and attention in it."""

from collections.abc import Sequence

import torch

from registry.files import AdapterFiles
from specialists.engine.batch import Batch
from specialists.engine.batching import build_batch, segments_of
from specialists.engine.core import Run
from specialists.engine.gpu.adapters import (
    ALIGNED,
    FEW_TILES,
    RANKS,
    GpuAdapter,
    Tiles,
    adapter_bytes,
)
from specialists.engine.gpu.attention import Paged
from specialists.engine.gpu.graph import DecodeGraph, recordable
from specialists.engine.gpu.tiles import TILE
from specialists.engine.llama import Llama
from specialists.engine.llama_network import LlamaNetwork
from specialists.engine.pages import PAGE_TOKENS, pages_needed
from specialists.engine.slots import SlotPool
from specialists.errors import NoKernels

LEAST_HALVED = 16


class GpuNetwork(LlamaNetwork):
    """A `Llama` on a GPU. Steps that read no prompt are replayed, since launching takes longer."""

    def __init__(self, llama: Llama, rows: int) -> None:
        """Take the base.

        Args:
            llama: the base.
            rows: in a step at most.

        Raises:
            NoKernels: its shape is not one that the kernels compute.
        """
        if any(width % ALIGNED for width in llama.widths.values()):
            raise NoKernels(f"outputs of a module are no multiple of {ALIGNED}")
        super().__init__(llama)
        self._rows = rows
        # By whether there are adapters, those of the fewest rows first.
        self._graphs: dict[bool, list[DecodeGraph]] = {}

    def allocate(self, pages: int) -> None:
        """Make room for the keys and values of that many pages, and record the steps."""
        # Rows that a graph has too many write to the last one, which is nobody's.
        self._cache = self._llama.new_cache(pages + 1)
        width = pages_needed(min(self.context, pages * PAGE_TOKENS))
        pool = torch.cuda.graph_pool_handle()
        self._graphs = {
            mixed: [
                DecodeGraph(self._llama, self._cache, rows, width, pool, mixed=mixed)
                for rows in sizes(self._rows)
            ]
            for mixed in (False, True)
        }
        for tiles in (1, FEW_TILES + 1):
            self._read_nothing(tiles * TILE, spare=pages)

    def _read_nothing(self, tokens: int, spare: int) -> None:
        """Have what prompts take compiled before the first one comes, who would wait for it."""
        device = self.device
        starts = torch.arange(0, tokens, TILE, device=device)
        none, full = torch.zeros_like(starts), torch.full_like(starts, TILE)
        table = torch.full((1, pages_needed(tokens)), spare, device=device)
        nothing = torch.zeros(tokens, dtype=torch.int64, device=device)
        batch = Batch(
            tokens=nothing,
            positions=nothing,
            stores=nothing + spare * PAGE_TOKENS,
            attention=Paged(starts, full, none, none, table, TILE),
            adapters=Tiles(starts, full, none, RANKS, self._llama.widths),
            samples=nothing[:1],
        )
        self._llama.forward(batch, self._cache)

    def adapter_bytes(self, files: AdapterFiles) -> int:
        """Bytes that an adapter will take, told without reading its weights."""
        llama = self._llama
        return adapter_bytes(self._layout(files).shapes, len(llama.layers), llama.dtype)

    def load_adapter(self, files: AdapterFiles) -> GpuAdapter:
        """Read an adapter."""
        llama = self._llama
        return GpuAdapter.of(self._read(files), llama.widths, llama.dtype, llama.device)

    def forward(self, runs: Sequence[Run], slots: SlotPool[GpuAdapter]) -> torch.Tensor:
        """Compute the runs' tokens; see `Network`."""
        segments = segments_of(runs, slots)
        if recordable(runs, segments):
            graphs = self._graphs[bool(segments)]
            return next(each for each in graphs if each.rows >= len(runs))(runs, segments)
        adapters = Tiles.of(segments, self._llama.widths, self.device) if segments else None
        batch = build_batch(runs, self.device, Paged.of(runs, self.device), adapters)
        return self._llama.forward(batch, self._cache)


def sizes(rows: int) -> list[int]:
    """Rows of the steps that are recorded: powers of two, and from 16 on what is between them."""
    powers = [1 << power for power in range(rows.bit_length())]
    halves = [each * 3 // 2 for each in powers if each >= LEAST_HALVED]
    return sorted({*(each for each in powers + halves if each < rows), rows})
