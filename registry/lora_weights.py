"""A LoRA's tensors: which module each belongs to, and whether it fits there."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.base import BaseSpec
from registry.content import Buffer
from registry.errors import InvalidAdapter
from registry.files import WEIGHTS
from registry.safetensors_header import Tensor, shown

_NAME = re.compile(
    r"base_model\.model\.(?P<path>model\.layers\.(?P<layer>0|[1-9][0-9]{0,5})\."
    r"(?P<module>[a-z_]+\.[a-z_]+))\.lora_(?P<side>[AB])\.weight"
)
# The exponent's bits: all of them set means NaN or an infinity, in each of the formats.
_EXPONENT: dict[str, tuple[np.dtype[Any], int]] = {
    "F32": (np.dtype("<u4"), 0x7F800000),
    "F16": (np.dtype("<u2"), 0x7C00),
    "BF16": (np.dtype("<u2"), 0x7F80),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """The two factors of one module: `a` is [rank, d_in], `b` is [d_out, rank].

    `module` is its name within the layer, `path` the full name, as PEFT's config has it.
    """

    layer: int
    module: str
    path: str
    a: Tensor
    b: Tensor

    @property
    def rank(self) -> int:
        """The rows of A."""
        return self.a.shape[0]


def pair_up(tensors: Mapping[str, Tensor], base: BaseSpec) -> list[Pair]:
    """Sort the tensors into pairs, by layer and module.

    Raises:
        InvalidAdapter: a tensor belongs to no linear of the base or has a shape that does not fit,
            one of a pair is missing, or there are none at all.
    """
    sides: dict[tuple[int, str, str], dict[str, Tensor]] = {}
    for tensor in tensors.values():
        layer, module, path, side = _place(tensor, base)
        sides.setdefault((layer, module, path), {})[side] = tensor
    if not sides:
        raise InvalidAdapter("holds no tensors.", WEIGHTS)
    return [_pair(*place, found, base) for place, found in sorted(sides.items(), key=_order)]


def check_finite(data: Buffer, tensors: Mapping[str, Tensor]) -> None:
    """Read every value once.

    Raises:
        InvalidAdapter: a tensor holds NaN or an infinity.
    """
    for tensor in tensors.values():
        dtype, exponent = _EXPONENT[tensor.dtype]
        bits = np.frombuffer(data, dtype, count=tensor.size, offset=tensor.start)
        if bits.size and int((bits & dtype.type(exponent)).max()) == exponent:
            raise InvalidAdapter("holds NaN or infinite values.", WEIGHTS, tensor.name)


def change(data: Buffer, pair: Pair, scale: float) -> float:
    """By how much a pair changes a weight of its linear: the root of the mean square of scale·B·A.

    From the products of the factors with themselves, since |BA|² = tr(BᵀB · AAᵀ); in double
    precision, which holds them whatever the factors are.
    """
    a, b = (_values(data, tensor).reshape(tensor.shape) for tensor in (pair.a, pair.b))
    squared = float(np.sum((b.T @ b) * (a @ a.T)))
    return scale * math.sqrt(max(squared, 0.0) / (len(b) * a.shape[1]))


def _values(data: Buffer, tensor: Tensor) -> NDArray[np.float64]:
    dtype, _ = _EXPONENT[tensor.dtype]
    bits = np.frombuffer(data, dtype, count=tensor.size, offset=tensor.start)
    if tensor.dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if tensor.dtype == "F16":
        return bits.view(np.float16).astype(np.float64)
    return bits.view(np.float32).astype(np.float64)


def is_zero(data: Buffer, tensor: Tensor) -> bool:
    """Whether all of a tensor's values are 0, of either sign."""
    dtype, _ = _EXPONENT[tensor.dtype]
    bits = np.frombuffer(data, dtype, count=tensor.size, offset=tensor.start)
    return not (bits & dtype.type(np.iinfo(dtype).max >> 1)).any()


def _order(item: tuple[tuple[int, str, str], object]) -> tuple[int, str, str]:
    return item[0]


def _place(tensor: Tensor, base: BaseSpec) -> tuple[int, str, str, str]:
    match = _NAME.fullmatch(tensor.name)
    if match is None:
        raise InvalidAdapter(
            "is no LoRA factor; expected base_model.model.model.layers.<n>.<module>"
            ".lora_A.weight or .lora_B.weight.",
            WEIGHTS,
            shown(tensor.name),
        )
    layer, module = int(match["layer"]), match["module"]
    if layer >= base.layers:
        message = f"{base.name} has {base.layers} layers, numbered from 0."
        raise InvalidAdapter(message, WEIGHTS, tensor.name)
    if module not in base.modules:
        message = f"{base.name} has no linear '{module}'; it has {', '.join(base.modules)}."
        raise InvalidAdapter(message, WEIGHTS, tensor.name)
    return layer, module, match["path"], match["side"]


def _pair(layer: int, module: str, path: str, found: Mapping[str, Tensor], base: BaseSpec) -> Pair:
    for side, other in (("A", "B"), ("B", "A")):
        if side not in found:
            message = f"its other factor, lora_{side}, is missing."
            raise InvalidAdapter(message, WEIGHTS, found[other].name)
    pair = Pair(layer, module, path, found["A"], found["B"])
    _check_shapes(pair, base)
    return pair


def _check_shapes(pair: Pair, base: BaseSpec) -> None:
    d_out, d_in = base.modules[pair.module]
    rank = pair.a.shape[0] if pair.a.shape else 0
    for tensor, expected in _expected(pair, rank, d_out, d_in):
        if tensor.shape != expected:
            raise InvalidAdapter(
                f"has the shape {list(tensor.shape)}, but {base.name} needs {list(expected)}.",
                WEIGHTS,
                tensor.name,
            )


def _expected(
    pair: Pair, rank: int, d_out: int, d_in: int
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    yield pair.a, (rank, d_in)
    yield pair.b, (d_out, rank)
