"""Adapters on a GPU, and the tokens of a batch that go through them."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import triton

from specialists.engine.batch import Segment
from specialists.engine.gpu import kernels
from specialists.engine.gpu.tiles import TILE, cut
from specialists.engine.lora import GROUPS, MODULES, Layers, Pair, Shape, Widths, numbers_of

RANKS, DEPTH, OUTS = 16, 128, 128
STAGES = 4
"""Blocks of a sum that are on their way from memory at once."""
PART, FEW_TILES = 1024, 64
"""Inputs of a part of a sum: those of few tiles are shared out, to keep all of the GPU busy."""

ALIGNED = 16
"""Outputs and inputs of a module are multiples of this, so that numbers are read many at once."""

Entry = tuple[int, int, int, int, int, int]
"""Where A and B lie, ranks, outputs, the first of them in its group, and the scale's bits."""
NOTHING: Entry = (0, 0, 0, 0, 0, 0)


def adapter_bytes(shapes: Iterable[Shape], layers: int, dtype: torch.dtype) -> int:
    """Bytes that an adapter of these pairs takes, for a base of so many layers."""
    table = layers * len(MODULES) * len(NOTHING) * torch.int64.itemsize
    return numbers_of(shapes) * dtype.itemsize + table


@dataclass(frozen=True, slots=True)
class GpuAdapter:
    """An adapter in a GPU's memory.

    Attributes:
        numbers: of each pair A [rank, d_in], then Bᵀ [rank, d_out].
        table: int64 [layers · modules, 6], an `Entry` for each module in the order of MODULES.
        most: the largest rank.
    """

    numbers: torch.Tensor
    table: torch.Tensor
    most: int

    @property
    def nbytes(self) -> int:
        """Bytes that the adapter takes while it is resident."""
        return self.numbers.nbytes + self.table.nbytes

    @classmethod
    def of(
        cls, layers: Layers, widths: Widths, dtype: torch.dtype, device: torch.device
    ) -> "GpuAdapter":
        """Take over an adapter's pairs, for a base of these outputs of its modules."""
        pairs = [pair for layer in layers for pair in layer.values()]
        matrices = [each.to(dtype) for pair in pairs for each in (pair.a, pair.b.t())]
        numbers = torch.cat([each.flatten() for each in matrices]).to(device)
        sizes = (each.nbytes for each in matrices)
        places = accumulate(sizes, initial=numbers.data_ptr())
        entries = [
            _entry(layer[module], first, places) if module in layer else NOTHING
            for layer in layers
            for module, first in _firsts(widths)
        ]
        table = torch.tensor(entries, dtype=torch.int64, device=device)
        return cls(numbers, table, max(pair.shape.ranks for pair in pairs))


def _firsts(widths: Widths) -> Iterator[tuple[str, int]]:
    """Each module with its first output in its group."""
    for modules in GROUPS.values():
        outputs = [widths[each] for each in modules]
        yield from zip(modules, accumulate(outputs[:-1], initial=0), strict=True)


def _entry(pair: Pair[torch.Tensor], first: int, places: Iterator[int]) -> Entry:
    (bits,) = struct.unpack("q", struct.pack("d", pair.scale))
    return next(places), next(places), pair.shape.ranks, pair.shape.outs, first, bits


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tokens of a batch by adapter, a few to a tile; see `Adapters`.

    Attributes:
        starts, counts: [tiles] which tokens are in each.
        tables: [tiles] where the tables of their adapters lie; 0 where there is none.
        most: no adapter has a larger rank; a multiple of RANKS.
        widths: outputs of the base's modules.
    """

    starts: torch.Tensor
    counts: torch.Tensor
    tables: torch.Tensor
    most: int
    widths: Widths

    @classmethod
    def of(
        cls, segments: Sequence[Segment[GpuAdapter]], widths: Widths, device: torch.device
    ) -> "Tiles":
        """Those of a batch's segments."""
        columns = torch.tensor(tiles_of(segments), device=device).T.contiguous()
        most = max(segment.adapter.most for segment in segments)
        return cls(columns[0], columns[1], columns[2], triton.cdiv(most, RANKS) * RANKS, widths)

    def add(self, layer: int, group: str, x: torch.Tensor, y: torch.Tensor) -> None:
        """See `Adapters`."""
        (tokens, ins), tiles = x.shape, len(self.starts)
        modules = GROUPS[group]
        first = layer * len(MODULES) + MODULES.index(modules[0])
        parts = triton.cdiv(ins, PART) if tiles <= FEW_TILES else 1
        shrunk = x.new_empty((parts, tokens, len(modules), self.most), dtype=torch.float32)
        places = self.starts, self.counts, self.tables, first, tokens
        kernels.shrink[tiles, len(modules), parts](
            x,
            shrunk,
            *places,
            ins,
            triton.cdiv(ins, parts * DEPTH) * DEPTH,
            self.most,
            MODULES=len(modules),
            TILE=TILE,
            RANKS=RANKS,
            DEPTH=DEPTH,
            num_stages=STAGES,
        )
        widest = max(self.widths[each] for each in modules)
        kernels.expand[tiles, triton.cdiv(widest, OUTS), len(modules)](
            shrunk,
            y,
            *places,
            y.shape[1],
            self.most,
            PARTS=parts,
            MODULES=len(modules),
            TILE=TILE,
            RANKS=RANKS,
            OUTS=OUTS,
            PRECISION="ieee" if x.dtype == torch.float32 else "tf32",
        )


def tiles_of(segments: Sequence[Segment[GpuAdapter]]) -> list[tuple[int, int, int]]:
    """First token, tokens, and where the adapter's table lies, of each tile."""
    return [
        (at, count, segment.adapter.table.data_ptr())
        for segment in segments
        for at, count in cut(segment.places.start, segment.places.stop - segment.places.start)
    ]
