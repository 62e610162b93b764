"""The encoder's network in compiled kernels: packed weights, texts end to end without padding."""

import json
from collections.abc import Iterator, Mapping, Sequence
from ctypes import byref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.files import AdapterFiles
from specialists.engine.native import library
from specialists.engine.native.held import Held
from specialists.engine.native.packing import BLOCK, LANES, Blocks
from specialists.engine.native.turns import Turns
from specialists.errors import NoKernels

BITS = 8
KIND = "bert"
PREFIX = "base_model.model."
"""Of the names of PEFT's weights."""
OTHER_KINDS = (
    "alpha_pattern", "modules_to_save", "rank_pattern", "trainable_token_indices", "use_dora",
    "use_rslora",
)  # fmt: skip
"""What is set in the config of an adapter whose product is not all, or is scaled otherwise."""
SELF, OUTPUT = "attention.self", "attention.output"
NAMES = (
    (f"{SELF}.query", f"{SELF}.key", f"{SELF}.value"),
    (f"{OUTPUT}.dense",),
    ("intermediate.dense",),
    ("output.dense",),
)
"""The linears of each group, in the order of bert.cpp."""

Floats = NDArray[np.float32]

PART = 256
"""Tokens that are read at once, or a single text: between two parts others get their turn, and
what a part needs of memory is kept."""


class NativeBert:
    """The means of a BERT's hidden states over each text's tokens. Safe to use from threads."""

    def __init__(
        self, kernels: Path, config: Any, weights: Mapping[str, Floats], threads: int
    ) -> None:
        """Pack the weights.

        Args:
            kernels: the compiled library.
            config: the model's, with the names of transformers.
            weights: the model's, by their names in transformers.
            threads: that one call is shared out to.

        Raises:
            NoKernels: its shape is none that the kernels compute.
        """
        if config.hidden_size % BLOCK or config.intermediate_size % BLOCK:
            raise NoKernels(f"the encoder's widths are no multiples of {BLOCK}")
        if config.hidden_size // config.num_attention_heads % LANES:
            raise NoKernels(f"the encoder's heads are no multiples of {LANES}")
        if config.hidden_act != "gelu":
            raise NoKernels(f"the encoder's activation is {config.hidden_act}")
        self._library = library.load(kernels)
        self._held = Held()
        self._turns = Turns()
        self.layers = int(config.num_hidden_layers)
        self.dimensions = int(config.hidden_size)
        shape = library.BertShape(
            self.layers, self.dimensions, config.num_attention_heads, config.intermediate_size,
            config.layer_norm_eps,
        )  # fmt: skip
        layers = (library.BertLayer * self.layers)()
        for number, layer in enumerate(layers):
            self._fill(layer, f"encoder.layer.{number}.", weights)
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        places = weights["embeddings.position_embeddings.weight"] + kind
        words = weights["embeddings.word_embeddings.weight"]
        norm = self._norm("embeddings.LayerNorm", weights)
        rest = self._held.floats(words), self._held.floats(places), byref(norm)
        self._bert: int | None = self._library.myriad_bert(byref(shape), layers, *rest, threads)

    @classmethod
    def from_folder(
        cls, folder: Path, kernels: Path, threads: int, adapter: Path | None = None
    ) -> "NativeBert":
        """Load config.json and model.safetensors of a folder, and add an adapter to them.

        Raises:
            NoKernels: its kind or shape is none that the kernels compute.
        """
        from safetensors.numpy import load_file

        # Read by itself: transformers brings torch, which takes more memory than all of this.
        config = SimpleNamespace(**json.loads((folder / "config.json").read_text()))
        if config.model_type != KIND:
            raise NoKernels(f"the encoder is of the kind {config.model_type}, not {KIND}")
        try:
            weights = load_file(folder / "model.safetensors")
            if adapter is not None:
                merge(adapter, weights)
            return cls(kernels, config, weights, threads)
        except (KeyError, TypeError) as error:  # it lacks weights, or numpy has no such numbers
            raise NoKernels(f"the encoder's weights cannot be packed: {error}") from error

    def means(self, texts: Sequence[Sequence[int]], layers: Sequence[int]) -> Floats:
        """Mean hidden states, float32 [texts, layers, dimensions].

        Args:
            texts: each one's tokens, at least one.
            layers: whose output, ascending; 0 is the embeddings'.
        """
        found = np.empty((len(texts), len(layers), self.dimensions), dtype=np.float32)
        for some in parts([len(text) for text in texts]):
            self._read(texts[some], np.asarray(layers, dtype=np.int32), found[some])
        return found

    def _read(
        self, texts: Sequence[Sequence[int]], layers: NDArray[np.int32], found: Floats
    ) -> None:
        """Write the means of some texts, at least one, into `found`."""
        lengths = [len(text) for text in texts]
        ids = np.concatenate([np.asarray(text, dtype=np.int32) for text in texts])
        begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        sizes = len(ids), len(texts), len(layers), max(lengths)
        arrays = (each.ctypes.data for each in (ids, begins, layers, found))
        asked = library.Texts(*sizes, *arrays)
        with self._turns:
            self._library.myriad_read(self._bert, byref(asked))

    def _fill(self, layer: Any, prefix: str, weights: Mapping[str, Floats]) -> None:
        for group, names in enumerate(NAMES):
            stacked = np.concatenate([weights[f"{prefix}{name}.weight"] for name in names])
            blocks = Blocks.quantised(np.asarray(stacked, dtype=np.float32), BITS)
            layer.linears[group] = self._held.linear(blocks)
            biases = np.concatenate([weights[f"{prefix}{name}.bias"] for name in names])
            layer.biases[group] = self._held.floats(biases)
        layer.attention_norm = self._norm(f"{prefix}{OUTPUT}.LayerNorm", weights)
        layer.norm = self._norm(f"{prefix}output.LayerNorm", weights)

    def _norm(self, name: str, weights: Mapping[str, Floats]) -> Any:
        parts = (weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return library.Norm(*map(self._held.floats, parts))

    def __del__(self) -> None:
        if getattr(self, "_bert", None) is not None:
            self._library.myriad_free_bert(self._bert)


def merge(adapter: Path, weights: dict[str, Floats]) -> None:
    """Add a plain LoRA adapter, in a folder as PEFT writes it, to the weights of its linears.

    Raises:
        NoKernels: it is of another kind.
    """
    from safetensors.numpy import load_file

    files = AdapterFiles.in_folder(adapter)
    config = json.loads(files.config.read_text())
    if more := [name for name in OTHER_KINDS if config.get(name)]:
        raise NoKernels(f"the encoder's adapter is no plain LoRA: {', '.join(more)}")
    factors = load_file(files.weights)
    scale = config["lora_alpha"] / config["r"]
    for linear in {name.rpartition(".lora_")[0] for name in factors}:
        up, down = (factors[f"{linear}.lora_{side}.weight"].astype(np.float32) for side in "BA")
        weight = f"{linear.removeprefix(PREFIX)}.weight"
        weights[weight] = weights[weight] + scale * up @ down


def parts(lengths: Sequence[int]) -> Iterator[slice]:
    """The texts of these lengths, in order, as many at a time as have PART tokens together."""
    start, tokens = 0, 0
    for at, length in enumerate(lengths):
        tokens += length
        if tokens > PART and at > start:
            yield slice(start, at)
            start, tokens = at, length
    if lengths:
        yield slice(start, len(lengths))
