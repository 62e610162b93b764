"""Does anything that strangers may write into a safetensors file's head get past its reader?

Valid files of one, two or many tensors are spoilt in one to four places: bytes, lengths, names,
types, shapes, offsets, structure. Whatever comes out must be read or refused as an adapter, and
nothing else, without memory growing. What is read is held to what the safetensors library reads.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError
from safetensors.numpy import load

from benchmarks.report import Row, at_most, show, write_json
from registry.errors import InvalidAdapter
from registry.safetensors_header import read_header

RUNS = 1_000_000
COMPARED = 50
GROWTH_MIB = 64.0
NUMBERS = [0, 1, -1, 2, 3, 7, 8, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30, 1e300, -0.0, True]
TEXTS = [
    "",
    "F32",
    "F16",
    "BF16",
    "I8",
    "f32",
    "\0",
    "😀",
    "a" * 300,
    "__metadata__",
    "../x",
    "\ud800",
]
Spoil = Callable[[Random, bytearray], bytearray]


def main() -> None:
    """Spoil and read so many files, and print what became of them."""
    arguments = _arguments()
    draw, outcomes = Random(arguments.seed), Counter[str]()
    valid = [_valid(draw, tensors) for tensors in (1, 2, 14)]
    before = None
    runs = range(arguments.runs)
    for run in track(runs, "Spoiling", console=Console(stderr=True)):
        file = bytearray(draw.choice(valid))
        for _ in range(draw.randint(1, 4)):
            file = draw.choice(SPOILS)(draw, file)
        outcomes[_outcome(bytes(file), compare=run % COMPARED == 0)] += 1
        if run == arguments.runs // 10:
            before = psutil.Process().memory_info().rss
    after = psutil.Process().memory_info().rss
    growth = (after - (before or after)) / 2**20
    rows = [Row(f"runs.{name}", count, "files") for name, count in outcomes.most_common()]
    wrong = sum(count for name, count in outcomes.items() if name not in ("read", "refused"))
    rows += [at_most("wrong", wrong, "files", 0), at_most("memory grew", growth, "MiB", GROWTH_MIB)]
    show(rows)
    write_json(arguments.json, rows)
    sys.exit(bool(wrong))


def _outcome(file: bytes, *, compare: bool) -> str:
    try:
        tensors = read_header(file)
    except InvalidAdapter as error:
        error.message.encode()
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    if not compare or any(tensor.dtype == "BF16" for tensor in tensors.values()):
        return "read"
    try:
        same = {name: array.shape for name, array in load(file).items()}
    except SafetensorError as error:
        return f"read, where the library refuses: {str(error)[:60]}"
    ours = {name: tensor.shape for name, tensor in tensors.items()}
    return "read" if same == ours else "read otherwise than by the library"


def _valid(draw: Random, count: int) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    reached = 0
    for number in range(count):
        shape = [draw.randint(1, 4), draw.randint(1, 8)]
        size = shape[0] * shape[1] * 4
        module = f"base_model.model.model.layers.{number // 2}.self_attn.q_proj"
        name = f"{module}.lora_{'AB'[number % 2]}.weight"
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [reached, reached + size]}
        reached += size
    return _file(header, bytes(reached))


def _file(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def _flip(draw: Random, file: bytearray) -> bytearray:
    """Another byte somewhere, most of all in the head."""
    if file:
        end = len(file) if draw.random() < 0.2 else min(len(file), 600)
        file[draw.randrange(end)] = draw.randrange(256)
    return file


def _cut(draw: Random, file: bytearray) -> bytearray:
    """Less at the end, or more."""
    at = draw.randrange(len(file) + 1)
    return file[:at] if draw.random() < 0.5 else file + bytes(draw.randrange(32))


def _lengthen(draw: Random, file: bytearray) -> bytearray:
    """Another length of the head than it has."""
    found = int.from_bytes(file[:8], "little")
    other = draw.choice([0, 1, found + 1, max(found - 1, 0), len(file), 2**32, 2**63, 2**64 - 1])
    file[:8] = (other % 2**64).to_bytes(8, "little")
    return file


def _insert(draw: Random, file: bytearray) -> bytearray:
    """Something of JSON's where it does not belong."""
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\u0000",
        b"NaN",
        b"1e999",
        b"null",
        b"//",
    ]
    at = draw.randrange(8, len(file) + 1) if len(file) > 8 else len(file)
    file[at:at] = draw.choice(pieces) * draw.choice([1, 1, 1, 50, 2000])
    return file


def _restructure(draw: Random, file: bytearray) -> bytearray:
    """Well-formed JSON with another value in some place."""
    length = int.from_bytes(file[:8], "little")
    try:
        header = json.loads(file[8 : 8 + length])
    except (ValueError, RecursionError):
        return file
    if isinstance(header, dict) and header:
        _change(draw, header)
    return bytearray(_file(header, bytes(file[8 + length :])))


def _change(draw: Random, header: dict[str, Any]) -> None:
    name = draw.choice(list(header))
    entry = header[name]
    values: list[Any] = [
        *NUMBERS,
        *TEXTS,
        None,
        [],
        {},
        [[]],
        [1, 2, 3],
        [draw.choice(NUMBERS)] * 2,
    ]
    match draw.randrange(5):
        case 0:
            header[name] = draw.choice(values)
        case 1:
            header[draw.choice(TEXTS)] = entry
        case 2 if isinstance(entry, dict) and entry:
            entry[draw.choice([*entry, *TEXTS])] = draw.choice(values)
        case 3 if isinstance(entry, dict) and isinstance(entry.get("shape"), list):
            entry["shape"] = [draw.choice(NUMBERS) for _ in range(draw.randrange(12))]
        case _ if isinstance(entry, dict) and isinstance(entry.get("data_offsets"), list):
            entry["data_offsets"] = [draw.choice(NUMBERS) for _ in range(draw.randrange(4))]


SPOILS: list[Spoil] = [_flip, _cut, _lengthen, _insert, _restructure, _restructure, _restructure]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
