"""Pages: the units in which keys and values are stored."""

import torch

PAGE_TOKENS = 16


class PagePool:
    """Hands out page numbers; knows nothing of tensors."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._fresh: list[int] = []
        self._free = list(range(count - 1, -1, -1))

    @property
    def available(self) -> int:
        """Pages that nobody holds."""
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Take `count` pages; the caller has checked `available`."""
        taken = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        self._fresh += taken
        return taken

    def take_fresh(self) -> list[int]:
        """Pages that were allocated since this was last asked; their content is someone else's."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def free(self, pages: list[int]) -> None:
        """Give pages back, and empty the list that named them."""
        self._free.extend(pages)
        pages.clear()

    def check_integrity(self, held: list[int]) -> None:
        """Every page is free or held, exactly once.

        Raises:
            AssertionError: pages were lost, or are held twice.
        """
        if sorted(self._free + held) != list(range(self.count)):
            raise AssertionError(f"{len(self._free)} free + {len(held)} held != {self.count} pages")


def pages_needed(tokens: int) -> int:
    """Pages that hold `tokens` tokens."""
    return -(-tokens // PAGE_TOKENS)


class KVCache:
    """Keys and values of every layer: two tensors [pages, PAGE_TOKENS, kv_heads, head_dim] each."""

    def __init__(
        self,
        layers: int,
        pages: int,
        heads: int,
        head_dim: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (pages, PAGE_TOKENS, heads, head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    def clear(self, pages: list[int]) -> None:
        """Zero pages before their first use.

        Attention multiplies what it masks by zero, and zero times another sequence's infinity
        would not be zero.
        """
        if not pages:
            return
        index = torch.tensor(pages, device=self.keys[0].device)
        for tensor in (*self.keys, *self.values):
            tensor.index_fill_(0, index, 0)

    def write(
        self, layer: int, places: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> None:
        """Store keys and values [tokens, kv_heads, head_dim] at flat `places` [tokens]."""
        self.keys[layer].flatten(0, 1).index_copy_(0, places, keys)
        self.values[layer].flatten(0, 1).index_copy_(0, places, values)

    def read(self, layer: int, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a page table [rows, n], each [rows, kv_heads, n·PAGE_TOKENS, dim]."""
        rows, n = table.shape
        flat = table.flatten()
        keys = self.keys[layer].index_select(0, flat).view(rows, n * PAGE_TOKENS, *self._tail)
        values = self.values[layer].index_select(0, flat).view(rows, n * PAGE_TOKENS, *self._tail)
        return keys.transpose(1, 2), values.transpose(1, 2)

    @property
    def _tail(self) -> torch.Size:
        return self.keys[0].shape[2:]


def page_bytes(layers: int, heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of one page over all layers, keys and values together."""
    return 2 * layers * PAGE_TOKENS * heads * head_dim * dtype.itemsize
