"""The network in compiled kernels: packed weights, and one call for a whole step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from registry.files import AdapterFiles
from specialists.engine.core import Run, wanted
from specialists.engine.kinds import kind_of
from specialists.engine.llama import require_plain
from specialists.engine.lora import GROUPS, MODULES, Layout
from specialists.engine.native import library
from specialists.engine.native.adapter import NativeAdapter, Plan, pointer
from specialists.engine.native.checkpoint import Checkpoint
from specialists.engine.native.packed import (
    EMBEDDING,
    FREQUENCIES,
    HEAD,
    LAYER_NORMS,
    NORM,
    Packed,
    keep,
    packed_file,
)
from specialists.engine.native.packing import BLOCK, LANES
from specialists.engine.pages import PAGE_TOKENS, page_bytes, pages_needed
from specialists.engine.slots import SlotPool
from specialists.errors import NoKernels

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of a run, at [begin, end) of its row, that follow each other in a step."""

    line: int
    run: Run
    begin: int
    end: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.end - self.begin

    @property
    def ids(self) -> list[int]:
        """The tokens."""
        first = self.run.row.computed
        return self.run.ids[self.begin - first : self.end - first]


def misfit(config: Any) -> str | None:
    """Why the kernels do not compute a base of this shape; None when they do."""
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    inputs = {"hidden size": config.hidden_size, "attention": queries}
    inputs["intermediate size"] = config.intermediate_size
    for name, width in inputs.items():
        if width % BLOCK:
            return f"its {name}, {width}, is no multiple of {BLOCK}"
    if head % LANES or keys % LANES:
        return f"its heads' size, {head}, is no multiple of {LANES}"
    return None


class NativeNetwork:
    """A base's packed weights, and its keys and values in binary16."""

    drafts = True

    def __init__(self, kernels: Path, packed: Packed, threads: int) -> None:
        """Take packed weights.

        Args:
            kernels: the compiled library.
            packed: the base.
            threads: that a step is shared out to.
        """
        self._library = library.load(kernels)
        self._tiles = bool(self._library.myriad_tiles())
        self._threads = threads
        self._packed = packed
        numbers = dict(packed.shape)
        self.context = int(numbers.pop("context"))
        self._shape = library.Shape(**numbers)
        self.vocabulary = int(self._shape.vocabulary)
        self.page_bytes = page_bytes(
            self._shape.layers, self._shape.kv_heads, self._shape.head_dim, torch.float16
        )
        self._widths = _widths(self._shape)
        self._layers = (library.Layer * self._shape.layers)(
            *(_layer(packed, number) for number in range(self._shape.layers))
        )
        self._llama: int | None = None
        self._plans: WeakKeyDictionary[Layout, Plan] = WeakKeyDictionary()

    @classmethod
    def from_folder(
        cls, folder: Path, kernels: Path, *, bits: int, threads: int
    ) -> "NativeNetwork":
        """Load a base in transformers' layout; `bits` are those of weights without blocks yet.

        Raises:
            BaseUnavailable: its config asks for something that is not computed.
            NoKernels: its shape is not one that the kernels compute.
        """
        file = packed_file(folder, bits)
        packed = Packed.read(file)
        if packed is None:
            packed = _packed(folder, bits)
            keep(packed, file)
        return cls(kernels, packed, threads)

    def __del__(self) -> None:
        """Free what the library holds."""
        if getattr(self, "_llama", None) is not None:
            self._library.myriad_free(self._llama)

    @property
    def head(self) -> library.Linear:
        """What gives the logits, often the embedding once more."""
        return self._packed.linear(HEAD if HEAD in self._packed.linears else EMBEDDING)

    def allocate(self, pages: int) -> None:
        """Make room for the keys and values of that many pages."""
        # In which order a page holds its numbers is the kernels' own (attention.h).
        shape = (pages, self._shape.kv_heads, PAGE_TOKENS * self._shape.head_dim)
        self._cache = [
            torch.empty(shape, dtype=torch.float16) for _ in range(2 * len(self._layers))
        ]
        for layer, keys, values in zip(
            self._layers, self._cache[::2], self._cache[1::2], strict=True
        ):
            layer.keys, layer.values = keys.data_ptr(), values.data_ptr()
        if self._llama is not None:
            self._library.myriad_free(self._llama)
        packed = self._packed
        self._llama = self._library.myriad_llama(
            self._shape,
            self._layers,
            packed.linear(EMBEDDING),
            self.head,
            packed.address(NORM),
            packed.address(FREQUENCIES),
            self._threads,
        )

    def clear(self, pages: list[int]) -> None:
        """Nothing to do: only what a row has written itself is read."""

    def adapter_bytes(self, files: AdapterFiles) -> int:
        """Bytes that an adapter will take, told without reading its weights."""
        return self._plan(files).nbytes

    def load_adapter(self, files: AdapterFiles) -> NativeAdapter:
        """Read an adapter."""
        return NativeAdapter.read(files.weights, self._plan(files), self._library)

    def _plan(self, files: AdapterFiles) -> Plan:
        layout = kind_of(files).layout(files, len(self._layers))
        if layout not in self._plans:
            self._plans[layout] = Plan.of(layout, self._widths)
        return self._plans[layout]

    def forward(self, runs: Sequence[Run], slots: SlotPool[NativeAdapter]) -> torch.Tensor:
        """Compute the runs' tokens; see `Network`."""
        generated, prompts = _apart(runs) if self._tiles else (_spans(runs), [])
        spans = [*generated, *prompts]
        tiled = sum(span.count for span in generated)
        segments = [*_segments(generated, 0, slots), *_segments(prompts, tiled, slots)]
        numbers = _numbers(runs, spans)
        logits = torch.empty(len(numbers["sampled"]), self.vocabulary)
        step = library.Step(
            tokens=len(numbers["ids"]),
            tiled=tiled,
            table_width=numbers["table"].shape[1],
            segments=len(segments),
            samples=len(logits),
            # What is chosen by is the same in any company; what only tells may be quick.
            exact=sum(run.samples for run in runs) if self._tiles else len(logits),
            segment=(library.Segment * len(segments))(*segments),
            logits=logits.data_ptr(),
            **{name: values.ctypes.data for name, values in numbers.items()},
        )
        self._library.myriad_step(self._llama, step)
        return logits


def _packed(folder: Path, bits: int) -> Packed:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    require_plain(config)
    if (problem := misfit(config)) is not None:
        raise NoKernels(problem)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return Packed.of(config, Checkpoint(folder, heads, bits))


def _layer(packed: Packed, number: int) -> library.Layer:
    norms = (packed.address(f"{number}.{name}") for name in LAYER_NORMS)
    linears = (packed.linear(f"{number}.{group}") for group in GROUPS)
    return library.Layer(*norms, (library.Linear * len(GROUPS))(*linears))


def _widths(shape: library.Shape) -> dict[str, int]:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    outs = (queries, keys, keys, shape.hidden, shape.inner, shape.inner, shape.hidden)
    return dict(zip(MODULES, outs, strict=True))


def _spans(runs: Sequence[Run]) -> list[Span]:
    """One for each run."""
    return [
        Span(line, run, run.row.computed, run.row.computed + run.width)
        for line, run in enumerate(runs)
    ]


def _apart(runs: Sequence[Run]) -> tuple[list[Span], list[Span]]:
    """Generated tokens, and those of prompts."""
    generated, prompts = [], []
    for run, span in zip(runs, _spans(runs), strict=True):
        middle = span.begin + run.of_prompt
        generated.append(Span(span.line, run, middle, span.end))
        prompts.append(Span(span.line, run, span.begin, middle))
    return [span for span in generated if span.count], [span for span in prompts if span.count]


def _segments(
    spans: Sequence[Span], at: int, slots: SlotPool[NativeAdapter]
) -> Iterator[library.Segment]:
    """Of spans that begin with a step's token `at`."""
    for digest, group in groupby(spans, key=lambda span: span.run.row.adapter):
        count = sum(span.count for span in group)
        if digest is not None:
            yield library.Segment(at, count, pointer(slots[digest]))
        at += count


def _numbers(runs: Sequence[Run], spans: Sequence[Span]) -> dict[str, NDArray[np.int32]]:
    """The arrays of a `Step`, by its fields' names."""
    width = max(pages_needed(span.end) for span in spans)
    table = np.zeros((len(runs), width), np.int32)
    for line, run in zip(table, runs, strict=True):
        pages = run.row.pages[:width]
        line[: len(pages)] = pages
    counts = [span.count for span in spans]
    places = np.cumsum(counts) - 1
    # Of a run that is in two spans the first one holds what comes later.
    ends = {span.line: end for span, end in zip(spans[::-1], places[::-1], strict=True)}
    sampled = [ends[at] + 1 - runs[at].width + place for at, place in wanted(runs)]
    return {
        "ids": np.array([token for span in spans for token in span.ids], np.int32),
        "positions": np.array([at for s in spans for at in range(s.begin, s.end)], np.int32),
        "rows": np.repeat(np.array([span.line for span in spans], np.int32), counts),
        "table": table,
        "sampled": np.array(sampled, np.int32),
    }
