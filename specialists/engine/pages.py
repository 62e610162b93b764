"""Pages: the units in which keys and values are stored, and found again by what they hold."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import blake2b

import torch

PAGE_TOKENS = 16
KEY_BYTES = 16


class PagePool:
    """Hands out page numbers; knows nothing of tensors.

    A page that is complete can be published under a key that says all that its content depends on.
    Whoever begins with the same shares it; nobody writes to it any more. When all have given it
    back it is kept until its room is needed: those that were not used for longest go first.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._fresh: list[int] = []
        self._free = list(range(count - 1, -1, -1))
        self._holders = [0] * count
        self._pages: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Pages that nobody holds."""
        return len(self._free) + len(self._kept)

    def allocate(self, count: int) -> list[int]:
        """Take `count` pages; the caller has checked `available`."""
        while len(self._free) < count:
            self._forget(next(iter(self._kept)))
        taken = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        for page in taken:
            self._holders[page] = 1
        self._fresh += taken
        return taken

    def take(self, keys: Sequence[bytes]) -> list[int]:
        """Share the pages that are there under the first of these keys, up to one that is not."""
        taken = []
        for key in keys:
            page = self._pages.get(key)
            if page is None:
                break
            self._kept.pop(page, None)
            self._holders[page] += 1
            taken.append(page)
        return taken

    def publish(self, page: int, key: bytes) -> None:
        """Let others share a page that is complete; the first one of a key is kept."""
        if key not in self._pages and page not in self._keys:
            self._pages[key], self._keys[page] = page, key

    def take_fresh(self) -> list[int]:
        """Pages that were allocated since this was last asked; their content is someone else's."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def free(self, pages: list[int]) -> None:
        """Give pages back, and empty the list that named them."""
        # The last of a prompt is of use to the fewest: it goes first when room is needed.
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            if page in self._keys:
                self._kept[page] = None
            else:
                self._free.append(page)
        pages.clear()

    def check_integrity(self, held: Collection[int]) -> None:
        """Every page is free, kept or held, and by as many as it counts.

        Args:
            held: pages that rows hold; those that are shared as often as they are.

        Raises:
            AssertionError: pages were lost, or are held by others than it counts.
        """
        free = [*self._free, *self._kept]
        if sorted([*free, *{*held}]) != list(range(self.count)):
            raise AssertionError(f"{len(free)} free + {len({*held})} held != {self.count} pages")
        counted = [page for page, count in enumerate(self._holders) for _ in range(count)]
        if counted != sorted(held):
            raise AssertionError("pages are held by others than those that are counted")
        if {key: page for page, key in self._keys.items()} != self._pages:
            raise AssertionError("pages are not found under their keys")

    def _forget(self, page: int) -> None:
        del self._kept[page]
        del self._pages[self._keys.pop(page)]
        self._free.append(page)


def page_keys(scope: bytes, tokens: Sequence[int], known: Sequence[bytes] = ()) -> list[bytes]:
    """A key for each page that these tokens fill: of all tokens up to its end, and of their scope.

    Args:
        scope: what else keys and values depend on, and who may share them.
        tokens: of a row, from its beginning.
        known: keys of the first pages, if they were made before.
    """
    keys = list(known)
    key = keys[-1] if keys else blake2b(scope, digest_size=KEY_BYTES).digest()
    for at in range(len(keys) * PAGE_TOKENS, len(tokens) - PAGE_TOKENS + 1, PAGE_TOKENS):
        content = b"".join(token.to_bytes(4, "big") for token in tokens[at : at + PAGE_TOKENS])
        key = blake2b(key + content, digest_size=KEY_BYTES).digest()
        keys.append(key)
    return keys


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


def gather(stored: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """A layer's keys or values of a page table [rows, n]: [rows, kv_heads, n·PAGE_TOKENS, dim]."""
    rows, n = table.shape
    found = stored.index_select(0, table.flatten())
    return found.view(rows, n * PAGE_TOKENS, *stored.shape[2:]).transpose(1, 2)


def page_bytes(layers: int, heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of one page over all layers, keys and values together."""
    return 2 * layers * PAGE_TOKENS * heads * head_dim * dtype.itemsize
