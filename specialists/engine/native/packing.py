"""Weights in blocks of few bits, in the order in which the kernels read them (see linear.h).

A block is 8 outputs by 32 inputs. Each output has a scale d and a minimum m in binary16, and each
weight an unsigned q of 4 or 8 bits: it is d·q + m. llama.cpp's Q4_1 and Q8_0 are of this form, so
that what a GGUF file says is kept exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 8
BLOCK = 32
Q4_0_BYTES = 18
Q4_1_BYTES = 20
Q4_K_BYTES = 144
Q4_K_BLOCKS = 8
Q8_0_BYTES = 34

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Blocks:
    """A linear's weights, quantised.

    Attributes:
        d, m: [outs, ins / 32].
        q: [outs, ins / 32, 32].
        bits: 4 or 8; each q is below 2 to that power.
    """

    d: Halves
    m: Halves
    q: Bytes
    bits: int

    @classmethod
    def quantised(cls, weight: Floats, bits: int) -> "Blocks":
        """The nearest blocks to a weight [outs, ins]; `ins` is a multiple of 32."""
        blocks = weight.reshape(len(weight), -1, BLOCK)
        least, most = blocks.min(axis=2), blocks.max(axis=2)
        m = least.astype(np.float16)
        d = ((most - m) / (2**bits - 1)).astype(np.float16)
        steps = np.where(d > 0, d, 1).astype(np.float32)[..., None]
        q = np.rint((blocks - m[..., None]) / steps).clip(0, 2**bits - 1)
        return cls(d, m, q.astype(np.uint8), bits)

    @classmethod
    def of_q4_0(cls, raw: Bytes) -> "Blocks":
        """llama.cpp's Q4_0 [outs, bytes]: Q4_1 whose m is -8·d."""
        parts = raw.reshape(len(raw), -1, Q4_0_BYTES)
        d = np.ascontiguousarray(parts[..., :2]).view(np.float16)[..., 0]
        return cls(d, d * np.float16(-8), _nibbles(parts[..., 2:]), 4)

    @classmethod
    def of_q4_k(cls, raw: Bytes) -> "Blocks":
        """llama.cpp's Q4_K [outs, bytes]: eight blocks share a d and an m, times 6 bits for each.

        The products are rounded to binary16, by 2^-11 at most.
        """
        parts = raw.reshape(len(raw), -1, Q4_K_BYTES)
        shared = np.ascontiguousarray(parts[..., :4]).view(np.float16).astype(np.float32)
        d, m = (shared[..., [each]] * six for each, six in enumerate(_six_bits(parts[..., 4:16])))
        q = _nibbles(parts[..., 16:].reshape(*parts.shape[:2], -1, BLOCK))
        blocks = len(raw), -1
        d, m = (each.astype(np.float16).reshape(blocks) for each in (d, -m))
        return cls(d, m, q.reshape(*blocks, BLOCK), 4)

    @classmethod
    def of_q4_1(cls, raw: Bytes) -> "Blocks":
        """llama.cpp's Q4_1 [outs, bytes]: d, m, and 16 bytes, whose low halves come first."""
        parts = raw.reshape(len(raw), -1, Q4_1_BYTES)
        scales = np.ascontiguousarray(parts[..., :4]).view(np.float16)
        return cls(scales[..., 0], scales[..., 1], _nibbles(parts[..., 4:]), 4)

    @classmethod
    def of_q8_0(cls, raw: Bytes) -> "Blocks":
        """llama.cpp's Q8_0 [outs, bytes]: d and 32 signed bytes, here 128 above a minimum."""
        parts = raw.reshape(len(raw), -1, Q8_0_BYTES)
        d = np.ascontiguousarray(parts[..., :2]).view(np.float16)[..., 0]
        return cls(d, d * np.float16(-128), parts[..., 2:] ^ np.uint8(128), 8)

    @classmethod
    def stacked(cls, parts: Sequence["Blocks"]) -> "Blocks":
        """Linears of the same inputs and bits as one."""
        d, m, q = (np.concatenate(each) for each in zip(*map(_arrays, parts), strict=True))
        return cls(d, m, q, parts[0].bits)

    @property
    def weight(self) -> Floats:
        """What the blocks stand for, [outs, ins]."""
        scaled = self.q * self.d.astype(np.float32)[..., None] + self.m[..., None]
        return scaled.reshape(len(self.d), -1)

    def rows(self, order: NDArray[np.intp]) -> "Blocks":
        """The same outputs in another order."""
        return Blocks(self.d[order], self.m[order], self.q[order], self.bits)

    def packed(self) -> Bytes:
        """The kernels' bytes, [outs / 8, ins / 32, 32 + 32 · bits]; outs are filled up."""
        missing = -len(self.d) % LANES
        d, m, q = (
            _striped(np.pad(each, [(0, missing)] + [(0, 0)] * (each.ndim - 1)))
            for each in _arrays(self)
        )
        scales = np.concatenate((d, m), axis=2).view(np.uint8)
        # [stripes, blocks, 8 groups of 4 inputs, 8 outputs, 4 inputs]
        groups = q.reshape(*q.shape[:3], LANES, 4).swapaxes(2, 3)
        if self.bits == 4:
            groups = groups[:, :, :4] | groups[:, :, 4:] << np.uint8(4)
        weights = groups.reshape(*groups.shape[:2], -1)
        return np.ascontiguousarray(np.concatenate((scales, weights), axis=2))


def _nibbles(raw: Bytes) -> Bytes:
    """Numbers of 4 bits [..., 2 · n] in n bytes, whose low halves come first."""
    return np.concatenate((raw & 15, raw >> 4), axis=-1)


def _six_bits(raw: Bytes) -> tuple[Bytes, Bytes]:
    """Eight numbers of a Q4_K's scale and eight of its minimum, [..., 8] each, in 12 bytes."""
    scales, minima, rest = np.split(raw, 3, axis=-1)
    return (
        np.concatenate((scales & 63, rest & 15 | scales >> 2 & 48), axis=-1),
        np.concatenate((minima & 63, rest >> 4 | minima >> 2 & 48), axis=-1),
    )


def _arrays(blocks: Blocks) -> tuple[Any, Any, Any]:
    return blocks.d, blocks.m, blocks.q


def _striped(values: NDArray[Any]) -> NDArray[Any]:
    """[outs, blocks, …] as [stripes, blocks, 8 outputs, …]."""
    split = values.reshape(-1, LANES, *values.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(split)
