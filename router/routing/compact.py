"""Unit vectors at 8 bits a number: a quarter of the memory, and floats where they are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numkong
import numpy as np
from numpy.typing import NDArray

from router.routing.encoder import Vectors

PEAK = 127


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """A vector's numbers at 16 bits, as two bytes each.

    Attributes:
        values: int8 [2, dimensions], the upper and the lower bytes.
        units: float64 [2], what these are multiplied by.
    """

    values: NDArray[np.int8]
    units: NDArray[np.float64]

    @classmethod
    def of(cls, vector: Vectors) -> Self:
        """The nearest to a float vector."""
        unit = max(float(np.abs(vector).max()), 1e-12) / PEAK
        upper = np.rint(vector / unit)
        lower = np.rint((vector / unit - upper) * (2 * PEAK))
        return cls(np.stack([upper, lower]).astype(np.int8), np.array([unit, unit / (2 * PEAK)]))


@dataclass(frozen=True, slots=True, eq=False)
class Compact:
    """Rows of length one. A cosine with one is off by about 0.0006.

    Attributes:
        values: int8 [rows, dimensions]; of each row the largest is PEAK, or minus that.
        scales: float32 [rows], what a row's values are multiplied by.
    """

    values: NDArray[np.int8]
    scales: Vectors

    @classmethod
    def of(cls, rows: Vectors) -> "Compact":
        """The nearest to float rows, [rows, dimensions]."""
        peaks = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
        return cls.held(np.rint(rows * (PEAK / peaks)).astype(np.int8))

    @classmethod
    def held(cls, values: NDArray[np.int8]) -> "Compact":
        """The rows whose values these are."""
        exact = values.astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        return cls(values, 1 / np.maximum(lengths, 1e-12))

    @classmethod
    def together(cls, several: Sequence["Compact"]) -> "Compact":
        """The rows of several, one after the other."""
        values = np.concatenate([each.values for each in several])
        return cls(values, np.concatenate([each.scales for each in several]))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.values)

    def first(self, columns: int | None) -> "Compact":
        """The first numbers of each row, as parts of the whole."""
        return Compact(self.values[:, :columns], self.scales)

    def some(self, places: NDArray[np.intp]) -> "Compact":
        """The rows at some places."""
        width = self.values.shape[1]
        # Each as one item: numpy would copy them number by number.
        items = self.values.view(np.dtype((np.void, width)))[:, 0]
        values = items[places].view(np.int8).reshape(len(places), width)
        return Compact(values, self.scales[places])

    def without(self, places: NDArray[np.intp]) -> "Compact":
        """The rows but those at some places."""
        return Compact(np.delete(self.values, places, axis=0), np.delete(self.scales, places))

    def dot(self, query: Halves) -> Vectors:
        """Products of the rows with as many of a query's first numbers, float32 [rows].

        Products of bytes are exact, and there are instructions for them.
        """
        if not len(self):
            return np.empty(0, dtype=np.float32)
        products = numkong.cdist(query.values[:, : self.values.shape[1]], self.values, "dot")
        found: Vectors = (query.units @ np.asarray(products)).astype(np.float32) * self.scales
        return found

    def floats(self, columns: int | None = None) -> Vectors:
        """The rows in single precision, or their first columns."""
        exact = self.values[:, :columns].astype(np.float32)
        exact *= self.scales[:, None]
        return exact
