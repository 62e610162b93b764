"""One step's tokens as tensors.

Tokens of all rows lie one after the other, those of one adapter side by side; nothing is padded but
the page tables of the decoding rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import torch
from torch.nn import functional as F

from specialists.engine.lora import AdapterWeights
from specialists.engine.pages import gather
from specialists.engine.slots import Weights


class Adapters(Protocol):
    """What the adapters of a batch add to the base's linears."""

    def add(self, layer: int, group: str, x: torch.Tensor, y: torch.Tensor) -> None:
        """Add all shares for inputs x [tokens, d_in] to outputs y [tokens, Σ d_out]."""


class Attention(Protocol):
    """Which stored tokens each token of a batch reads."""

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """What the queries [tokens, heads, head_dim] read of a layer, in the same shape.

        Keys and values are those of all pages, see `KVCache`; the batch's own are among them.
        """


@dataclass(frozen=True, slots=True)
class Segment(Generic[Weights]):
    """Consecutive tokens of a batch that share an adapter."""

    places: slice
    adapter: Weights


@dataclass(frozen=True, slots=True)
class Segments:
    """The adapters, one segment after the other; see `Adapters`."""

    each: Sequence[Segment[AdapterWeights]]

    def add(self, layer: int, group: str, x: torch.Tensor, y: torch.Tensor) -> None:
        """See `Adapters`."""
        exact = x.float()
        for segment in self.each:
            adapter = segment.adapter.layers[layer].get(group)
            if adapter is not None:
                adapter.add(exact[segment.places], y[segment.places])


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """The tokens that attend alone, one per row.

    Attributes:
        places: [rows] where they are in the batch.
        table: [rows, pages] the pages of each, padded with any page.
        mask: [rows, 1, 1, pages · PAGE_TOKENS] True where a stored token is visible.
    """

    places: torch.Tensor
    table: torch.Tensor
    mask: torch.Tensor

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """[rows, heads, head_dim]; see `Attention`."""
        stored, said = gather(keys, self.table), gather(values, self.table)
        # The query heads that share a key head take the place of query positions: a row has only
        # one position, so the mask is the same for all of them and nothing is repeated.
        q = queries[self.places].view(len(stored), stored.shape[1], -1, stored.shape[3])
        return F.scaled_dot_product_attention(q, stored, said, attn_mask=self.mask).flatten(1, 2)


@dataclass(frozen=True, slots=True)
class PrefillRun:
    """Several tokens of one row.

    Attributes:
        places: where they are in the batch.
        table: [1, pages] the row's pages.
        mask: [count, pages · PAGE_TOKENS] True where a stored token is visible.
    """

    places: slice
    table: torch.Tensor
    mask: torch.Tensor

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """[count, heads, head_dim]; see `Attention`."""
        stored, said = gather(keys, self.table), gather(values, self.table)
        q = queries[self.places].transpose(0, 1).unsqueeze(0)
        out = F.scaled_dot_product_attention(q, stored, said, attn_mask=self.mask, enable_gqa=True)
        return out.squeeze(0).transpose(0, 1)


@dataclass(frozen=True, slots=True)
class Copied:
    """Attention over copies of the pages; see `Attention`.

    Attributes:
        decode: the rows of one token, if any.
        prefills: the runs of more tokens.
    """

    decode: DecodeRows | None
    prefills: tuple[PrefillRun, ...]

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """See `Attention`."""
        out = torch.empty_like(queries)
        if self.decode is not None:
            out[self.decode.places] = self.decode.attend(queries, keys, values)
        for run in self.prefills:
            out[run.places] = run.attend(queries, keys, values)
        return out


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tokens.

    Attributes:
        tokens, positions, stores: [tokens] ids, positions in their rows, and flat places in
            the cache.
        attention: which stored tokens they read.
        adapters: of all tokens; None where none has one.
        samples: [rows] places of the tokens whose logits are wanted.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    stores: torch.Tensor
    attention: Attention
    adapters: Adapters | None
    samples: torch.Tensor
