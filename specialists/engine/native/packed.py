"""A base as the kernels read it, kept in a file, so that a start is a look at it and no work.

The file lies beside the weights, where that can be written, and is mapped, so that all engines of a
machine share it in memory. It is a line of JSON, filled up with spaces, then the arrays, each at a
multiple of 64 bytes.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from registry.leftovers import DRAFT, forget_leftovers
from specialists.base import GGUF
from specialists.engine.llama import rotary
from specialists.engine.lora import GROUPS
from specialists.engine.native import library
from specialists.engine.native.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

ALIGNED = 64
KEPT_SECONDS = 30 * 86_400.0
"""Files of bases that were not used for so long are removed."""
SOURCES = ("packed.py", "packing.py", "checkpoint.py", "linear.h")
"""What says how the bytes of a file are to be read."""
LAYER_NORMS = "input_layernorm", "post_attention_layernorm"
EMBEDDING, HEAD, NORM, FREQUENCIES = "embedding", "head", "norm", "frequencies"

Array = NDArray[Any]


@dataclass(frozen=True)
class Packed:
    """A base's numbers and weights.

    Attributes:
        shape: the fields of the library's `Shape`, and `context`, the positions it was made for.
        arrays: packed linears and float32 vectors, by name.
        linears: outputs, inputs and bits of those that are linears.
    """

    shape: dict[str, float]
    arrays: dict[str, Array] = field(default_factory=dict)
    linears: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Any, weights: Checkpoint) -> "Packed":
        """Pack a base's weights; `config` is of transformers."""
        frequencies, scaling = rotary(config)
        made = cls(_shape(config) | {"rope_scaling": scaling})
        for number in range(config.num_hidden_layers):
            made._layer(number, weights)
        made._linear(EMBEDDING, weights, "model.embed_tokens.weight")
        if "lm_head.weight" in weights and not config.tie_word_embeddings:
            made._linear(HEAD, weights, "lm_head.weight")
        made.arrays[NORM] = weights.vector("model.norm.weight")
        made.arrays[FREQUENCIES] = np.ascontiguousarray(frequencies.numpy(), np.float32)
        return made

    @classmethod
    def read(cls, file: Path) -> "Packed | None":
        """What a file holds; None if there is none, or it is damaged."""
        try:
            packed = cls._mapped(file)
            os.utime(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is made anew: %r", file, error)
            return None
        return packed

    def write(self, file: Path) -> None:
        """Keep it in a file, all of it or nothing."""
        file.parent.mkdir(parents=True, exist_ok=True)
        forget_leftovers(file.parent, f"{DRAFT}*")
        handle, draft = tempfile.mkstemp(prefix=DRAFT, dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as opened:
                for piece in self._pieces():
                    opened.write(piece)
                opened.flush()
                os.fsync(handle)
            Path(draft).replace(file)
        except OSError:
            Path(draft).unlink()
            raise

    def linear(self, name: str) -> library.Linear:
        """A linear, as the library takes it."""
        return library.Linear(*self.linears[name], self.arrays[name].ctypes.data)

    def address(self, name: str) -> int:
        """Where a vector lies."""
        return int(self.arrays[name].ctypes.data)

    @classmethod
    def _mapped(cls, file: Path) -> "Packed":
        content = np.memmap(file, np.uint8, "r")
        with file.open("rb") as opened:
            head = opened.readline()
        told = json.loads(head)
        if zlib.crc32(content[len(head) :].data) != told["crc"]:
            raise ValueError("its content is not what was written")
        arrays = {
            name: content[at : at + size].view(kind).reshape(shape)
            for name, (at, size, kind, shape) in told["arrays"].items()
        }
        linears = {name: tuple(numbers) for name, numbers in told["linears"].items()}
        return cls(told["shape"], arrays, linears)

    def _layer(self, number: int, weights: Checkpoint) -> None:
        prefix = f"model.layers.{number}."
        for norm in LAYER_NORMS:
            self.arrays[f"{number}.{norm}"] = weights.vector(f"{prefix}{norm}.weight")
        for group, modules in GROUPS.items():
            names = (f"{prefix}{module}.weight" for module in modules)
            self._linear(f"{number}.{group}", weights, *names)

    def _linear(self, name: str, weights: Checkpoint, *stacked: str) -> None:
        blocks = weights.blocks(*stacked)
        outs, groups, width = blocks.q.shape
        self.arrays[name] = blocks.packed()
        self.linears[name] = outs, groups * width, blocks.bits

    def _pieces(self) -> Iterator[bytes | memoryview]:
        """The file's content."""
        body = [_filled(array).data for array in self.arrays.values()]
        crc = 0
        for piece in body:
            crc = zlib.crc32(piece, crc)
        told = {"shape": self.shape, "linears": self.linears, "crc": crc, "arrays": {}}
        longest = json.dumps(told | {"arrays": self._places(10**12)})
        room = _up(len(longest) + 1)
        yield json.dumps(told | {"arrays": self._places(room)}).ljust(room - 1).encode() + b"\n"
        yield from body

    def _places(self, at: int) -> dict[str, tuple[int, int, str, tuple[int, ...]]]:
        """Where each array begins if the first one does at `at`, its bytes, kind and shape."""
        places = {}
        for name, array in self.arrays.items():
            places[name] = at, array.nbytes, array.dtype.str, array.shape
            at += _up(array.nbytes)
        return places


def packed_file(folder: Path, bits: int) -> Path:
    """Where a base is kept, packed: by its files, and by how they are packed."""
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json", folder / GGUF])
    key = hashlib.sha256(f"{folder.resolve()} {bits}".encode())
    for file in filter(Path.is_file, files):
        found = file.stat()
        key.update(f"{file.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    for source in SOURCES:
        key.update(Path(__file__).with_name(source).read_bytes())
    beside = os.access(folder, os.W_OK)
    where = folder if beside else user_cache_path("myriad") / "bases"
    return where / f"kernels-{key.hexdigest()[:16]}.packed"


def keep(packed: Packed, file: Path) -> None:
    """Write a base for the next start, which can do without it, and remove what nobody uses."""
    try:
        packed.write(file)
        for other in file.parent.glob("*.packed"):
            if time.time() - other.stat().st_mtime > KEPT_SECONDS:
                other.unlink()
    except OSError as error:
        logger.warning("the next start packs the base's weights again: %s", error)


def _up(nbytes: int) -> int:
    """The next multiple of ALIGNED."""
    return -(-nbytes // ALIGNED) * ALIGNED


def _filled(array: Array) -> Array:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return np.pad(flat, (0, -len(flat) % ALIGNED))


def _shape(config: Any) -> dict[str, float]:
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    return {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": head,
        "inner": config.intermediate_size,
        "vocabulary": config.vocab_size,
        "eps": config.rms_norm_eps,
        "context": config.max_position_embeddings,
    }
