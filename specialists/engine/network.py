"""What the engine asks of a network: a base, with the adapters of a mixed batch on top.

There are three: `torch_network`, which is the reference and runs everywhere, `native.network`, fast
on CPUs, and `gpu.network`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from registry.files import AdapterFiles
from specialists.engine.core import Run
from specialists.engine.slots import Resident, SlotPool


class Network(Protocol):
    """A base in memory, its cache of keys and values, and the forward pass.

    Attributes:
        vocabulary: width of the logits.
        context: positions that the base was made for.
        page_bytes: bytes of one page over all layers, keys and values together.
        drafts: whether generated tokens of a row that a step computes at once come out, to the last
            bit, as one after the other, and in less time.
    """

    vocabulary: int
    context: int
    page_bytes: int
    drafts: bool

    def allocate(self, pages: int) -> None:
        """Make room for the keys and values of that many pages."""

    def clear(self, pages: list[int]) -> None:
        """Make ready pages that held another row's keys and values."""

    def adapter_bytes(self, files: AdapterFiles) -> int:
        """Bytes that an adapter will take, told without reading its weights."""

    def load_adapter(self, files: AdapterFiles) -> Resident:
        """Read an adapter; called from another thread than the steps."""

    def forward(self, runs: Sequence[Run], slots: SlotPool[Any]) -> torch.Tensor:
        """Compute the runs' tokens, those of one adapter side by side.

        Returns:
            float32 logits [samples, vocabulary], those that are `wanted` of the runs.
        """
