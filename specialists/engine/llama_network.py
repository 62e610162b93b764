"""What all networks over a `Llama` have in common."""

import torch

from registry.files import AdapterFiles
from specialists.engine.kinds import kind_of
from specialists.engine.llama import Llama
from specialists.engine.lora import Layers, Layout, read_pairs
from specialists.engine.pages import page_bytes


class LlamaNetwork:
    """A `Llama`, and its cache of keys and values; see `Network`."""

    drafts = False

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._cache = llama.new_cache(0)
        self.vocabulary = len(llama.embedding)
        self.context = llama.context
        self.page_bytes = page_bytes(len(llama.layers), llama.kv_heads, llama.head_dim, llama.dtype)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self._llama.device

    def clear(self, pages: list[int]) -> None:
        """Zero pages before their first use."""
        self._cache.clear(pages)

    def _layout(self, files: AdapterFiles) -> Layout:
        """Where an adapter's pairs lie."""
        return kind_of(files).layout(files, len(self._llama.layers))

    def _read(self, files: AdapterFiles) -> Layers:
        """An adapter's pairs; their numbers stay where they lie."""
        return read_pairs(files.weights, self._layout(files))
