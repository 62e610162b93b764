"""Arrays that the kernels' structures point into: they must live as long as these."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.engine.native import library
from specialists.engine.native.packing import Blocks


class Held:
    """Keeps what it was given alive, and tells where it lies."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def linear(self, blocks: Blocks) -> library.Linear:
        """A linear, packed."""
        packed = blocks.packed()
        self._arrays.append(packed)
        outs, groups, width = blocks.q.shape
        return library.Linear(outs, groups * width, blocks.bits, packed.ctypes.data)

    def floats(self, values: NDArray[np.float32]) -> int:
        """The address of float32 numbers."""
        self._arrays.append(np.ascontiguousarray(values, np.float32))
        return int(self._arrays[-1].ctypes.data)
