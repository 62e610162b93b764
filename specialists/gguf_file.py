"""GGUF files, read in half the time that their package takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from specialists.progress import Progress, silent


class GGUFFile(gguf.GGUFReader):  # type: ignore[misc]  # the package has no types
    """A GGUF file's fields and tensors.

    The package makes a slice for each of some hundred thousand tokens and merges. Of a memory map
    each takes several times as long as of an array over the same memory.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file, mapped."""
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)

    def value(self, key: str, default: Any = None) -> Any:
        """What a field says."""
        field = self.fields.get(key)
        return default if field is None else field.contents()

    def tensor(self, name: str) -> NDArray[Any] | None:
        """A tensor's numbers as they are kept."""
        return next((each.data for each in self.tensors if each.name == name), None)


@contextmanager
def looked_up_once(file: GGUFFile, progress: Progress = silent) -> Iterator[None]:
    """Have what transformers asks of this file again and again found where it is, for a while.

    It reads the whole file for the config and for the weights, and makes the table of tensors'
    names anew for each module: half of the time that unpacking takes. `progress` is told of each
    tensor that it unpacks.
    """
    numbers, dequantize = count(1), gguf.dequantize

    def told(*asked: Any) -> Any:
        found = dequantize(*asked)
        progress("Unpacking weights", next(numbers), len(file.tensors))
        return found

    ours = {
        "GGUFReader": lambda _: file,
        "get_tensor_name_map": cache(gguf.get_tensor_name_map),
        "dequantize": told,
    }
    plain = {name: getattr(gguf, name) for name in ours}
    try:
        for name, made in ours.items():
            setattr(gguf, name, made)
        yield
    finally:
        for name, made in plain.items():
            setattr(gguf, name, made)
