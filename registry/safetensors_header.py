"""The header of a safetensors file, checked before any library parses it.

Layout (https://huggingface.co/docs/safetensors): 8 bytes little-endian header length, the header
as a JSON object, then the data. Each tensor gives its dtype, its shape and its [start, end) in the
data; together they must cover the data exactly once.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from registry import strict_json
from registry.content import Buffer
from registry.errors import InvalidAdapter
from registry.files import WEIGHTS

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
MAX_HEADER_BYTES = 8 * 1024 * 1024
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_DIMENSIONS = 8
_MAX_SIZE = 2**40
_FIELDS = {"dtype", "shape", "data_offsets"}
_FOREIGN = {
    b"PK": "a zip archive, as torch.save writes",
    b"\x80": "a pickle, as torch.save writes",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with 'git lfs pull'",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: [start, end) are byte offsets from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def read_header(data: Buffer) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name, in the order of their data.

    Raises:
        InvalidAdapter: it is no safetensors file, is truncated, or its header is inconsistent.
    """
    return parse_header(header_of(data), len(data))


def header_of(data: Buffer) -> bytes:
    """The header of a safetensors file, with the length before it.

    Raises:
        InvalidAdapter: it is no safetensors file, or is truncated.
    """
    return bytes(data[: 8 + _header_length(data)])


def parse_header(head: bytes, size: int) -> dict[str, Tensor]:
    """The tensors that a header names; see `read_header`.

    Args:
        head: the header, with the length before it.
        size: the whole file's, in bytes.

    Raises:
        InvalidAdapter: it is inconsistent.
    """
    try:
        header = strict_json.loads(head[8:])
    except ValueError as error:
        raise _refusal(f"the header is not valid JSON: {error}.") from None
    if not isinstance(header, dict):
        raise _refusal("the header is not a JSON object.")
    if _SURROGATE.search(head, 8):
        _check_surrogates(header)
    _check_metadata(header.pop("__metadata__", {}))
    tensors = [_tensor(name, entry, len(head)) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_cover(tensors, len(head), size)
    return {tensor.name: tensor for tensor in tensors}


def shown(name: str) -> str:
    """A name from an untrusted file, short and printable."""
    return ascii(name[:160])[1:-1]


def _header_length(data: Buffer) -> int:
    """The header's length in bytes, once the file looks like safetensors at all."""
    if len(data) < 9:
        raise _refusal(f"is truncated: it has only {len(data)} bytes.")
    length = int.from_bytes(data[:8], "little")
    within = length <= min(MAX_HEADER_BYTES, len(data) - 8)
    if within and data[8:9] == b"{":
        return length
    for magic, description in _FOREIGN.items():
        if data[: len(magic)] == magic:
            raise _refusal(
                f"is {description}. Only safetensors are accepted: "
                "save the adapter with safe_serialization=True."
            )
    if data[8:9] == b"{" and length <= MAX_HEADER_BYTES:
        raise _refusal(f"is truncated: its header needs {length:,} bytes of {len(data) - 8:,}.")
    raise _refusal(f"is not a safetensors file, or its header is over {MAX_HEADER_BYTES:,} bytes.")


def _check_surrogates(header: dict[str, object]) -> None:
    """Python reads half of a surrogate pair; the library that loads the file does not."""
    try:
        json.dumps(header, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _refusal("half of a surrogate pair stands alone in the header.") from None


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, Mapping):
        raise _refusal("__metadata__ is not an object of texts.")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise _refusal("__metadata__ holds a value that is not a text.")


def _tensor(name: str, entry: object, base: int) -> Tensor:
    if not isinstance(entry, Mapping) or set(entry) != _FIELDS:
        raise _refusal("must have dtype, shape and data_offsets, and nothing else.", name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _refusal(f"its dtype must be one of {', '.join(ITEM_BYTES)}.", name)
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise _refusal("its shape is not a short list of sizes.", name)
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise _refusal("its data_offsets are not a [start, end] within any file.", name)
    start, end = offsets
    expected = math.prod(shape) * ITEM_BYTES[dtype]
    if end - start != expected:
        raise _refusal(
            f"its shape {shape} of {dtype} needs {expected:,} bytes, "
            f"but its data_offsets span {end - start:,}.",
            name,
        )
    return Tensor(name, dtype, tuple(shape), base + start, base + end)


def _are_sizes(value: object) -> bool:
    """A list of whole numbers; bool, which Python counts among them, is not meant."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= _MAX_SIZE for n in value)


def _check_cover(tensors: list[Tensor], start: int, size: int) -> None:
    """Tensors in order of data must touch each other, from the header's end to the file's end."""
    reached = start
    for tensor in tensors:
        if tensor.start < reached:
            raise _refusal("its data overlaps another tensor's.", tensor.name)
        if tensor.start > reached:
            raise _refusal(f"{tensor.start - reached:,} unused bytes lie before it.", tensor.name)
        reached = tensor.end
    if reached > size:
        raise _refusal(f"is truncated: it has {size:,} bytes of {reached:,}.")
    if reached < size:
        raise _refusal(f"{size - reached:,} unused bytes follow the last tensor.")


def _refusal(message: str, tensor: str | None = None) -> InvalidAdapter:
    return InvalidAdapter(message, WEIGHTS, None if tensor is None else shown(tensor))
