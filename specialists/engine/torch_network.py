"""The network in plain torch: on every device, in every dtype; what others must agree with."""

from collections.abc import Sequence
from pathlib import Path

import torch

from registry.files import AdapterFiles
from specialists.engine.batch import Segments
from specialists.engine.batching import build_batch, copied, segments_of
from specialists.engine.core import Run
from specialists.engine.llama import load_llama
from specialists.engine.llama_network import LlamaNetwork
from specialists.engine.lora import AdapterWeights, float32_bytes
from specialists.engine.slots import SlotPool


class TorchNetwork(LlamaNetwork):
    """A `Llama` as it stands."""

    @classmethod
    def from_folder(
        cls, folder: Path, *, dtype: torch.dtype, device: torch.device
    ) -> "TorchNetwork":
        """Load a base in transformers' layout."""
        return cls(load_llama(folder, dtype=dtype, device=device))

    def allocate(self, pages: int) -> None:
        """Make room for the keys and values of that many pages."""
        self._cache = self._llama.new_cache(pages)

    def adapter_bytes(self, files: AdapterFiles) -> int:
        """Bytes that an adapter will take, told without reading its weights."""
        return float32_bytes(self._layout(files).shapes)

    def load_adapter(self, files: AdapterFiles) -> AdapterWeights:
        """Read an adapter."""
        return AdapterWeights.of(self._read(files), self._llama.widths, self.device)

    def forward(self, runs: Sequence[Run], slots: SlotPool[AdapterWeights]) -> torch.Tensor:
        """Compute the runs' tokens; see `Network`."""
        segments, attention = segments_of(runs, slots), copied(runs, self.device)
        adapters = Segments(segments) if segments else None
        batch = build_batch(runs, self.device, attention, adapters)
        return self._llama.forward(batch, self._cache)
