"""A base in one GGUF file, as llama.cpp has it, unpacked into a folder in transformers' layout.

transformers dequantises the weights. It drops how Llama 3.1 and its successors stretch their
positions, which such a file has as a tensor of its own and not as a number.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.errors import BaseUnavailable
from specialists.gguf_file import GGUFFile, looked_up_once
from specialists.gguf_tokenizer import end_tokens, read_tokenizer
from specialists.progress import Progress

ARCHITECTURE = "llama"
STRETCHED = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
STRETCHED_FROM = 8192
"""Positions that Llama 3.1 to 3.3 stretch from; the file has only what follows of these numbers."""
ROPE_TOLERANCE = 1e-3


def unpack(path: Path, folder: Path, name: str, progress: Progress) -> None:
    """Write a GGUF file's weights, in bfloat16, its config and its tokenizer into `folder`.

    Raises:
        BaseUnavailable: it is no GGUF file, not of a Llama, or says what cannot be computed.
    """
    progress("Loading transformers", 1, 4)
    # transformers draws bars of its own, one of which listens to nothing else.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    progress("Reading the tokenizer", 2, 4)
    file = _opened(path)
    with looked_up_once(file, progress):
        tokenizer = read_tokenizer(file)
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        rope = _rope(file, config)
        checkpoint = _weights(file)
    checkpoint.config._name_or_path = name
    checkpoint.config.rope_parameters = config.rope_parameters | rope
    checkpoint.generation_config.eos_token_id = end_tokens(file)
    progress("Writing the base's folder", 3, 4)
    checkpoint.save_pretrained(folder)
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    progress("The base is ready", 4, 4)


def _opened(path: Path) -> GGUFFile:
    try:
        file = GGUFFile(path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise BaseUnavailable(f"{path} cannot be read as a GGUF file: {error}") from error
    found = file.value("general.architecture")
    if found != ARCHITECTURE:
        raise BaseUnavailable(f"{path} has a model of the kind {found!r}, and a Llama is served")
    if file.value(f"{ARCHITECTURE}.expert_count"):
        raise BaseUnavailable(f"{path} has a model of the kind {found!r} with experts")
    if file.value("split.count", 1) > 1:
        raise BaseUnavailable(f"{path} is a part of a model: merge all with `llama-gguf-split`")
    if any(tensor.name.endswith(".bias") for tensor in file.tensors):
        raise BaseUnavailable(f"{path} has a model with biases, which are not computed")
    return file


def _weights(file: GGUFFile) -> Any:
    """The network, of transformers, which fills up with numbers at random what a file lacks."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    try:
        checkpoint, told = AutoModelForCausalLM.from_pretrained(
            file.path.parent,
            gguf_file=file.path.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
    except NotImplementedError as error:
        raise BaseUnavailable(
            f"{file.path} has weights that cannot be unpacked: {error}"
        ) from error
    if lacking := sorted(told["missing_keys"]):
        raise BaseUnavailable(f"{file.path} lacks weights: {', '.join(lacking[:3])} …")
    return checkpoint


def _rope(file: GGUFFile, config: Any) -> dict[str, Any]:
    """How positions are stretched, as transformers says it."""
    factors = file.tensor("rope_freqs.weight")
    if factors is not None:
        return _as_llama_3(file.path, factors, config)
    kind = file.value("llama.rope.scaling.type", "none")
    factor = file.value("llama.rope.scaling.factor", 1.0)
    if kind == "none":
        return {}
    if kind == "linear":
        return {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        trained = file.value("llama.context_length")
        began = file.value("llama.rope.scaling.original_context_length", trained)
        return {"rope_type": kind, "factor": factor, "original_max_position_embeddings": began}
    raise BaseUnavailable(f"{file.path} stretches positions by {kind!r}, which is not computed")


def _as_llama_3(path: Path, factors: NDArray[np.float32], config: Any) -> dict[str, Any]:
    """The numbers behind what each frequency is divided by (llama.cpp's `conversion/llama.py`)."""
    told = STRETCHED | {
        "rope_type": "llama3",
        "factor": float(factors.max()),
        "original_max_position_embeddings": STRETCHED_FROM,
    }
    if not np.allclose(_divisors(config, told), factors, rtol=ROPE_TOLERANCE):
        raise BaseUnavailable(
            f"{path} stretches positions in a way that Llama 3 does not: give the folder in "
            "transformers' layout"
        )
    return told


def _divisors(config: Any, told: dict[str, Any]) -> NDArray[np.float64]:
    places = np.arange(0, config.head_dim, 2) / config.head_dim
    turns = config.rope_parameters["rope_theta"] ** -places
    # A frequency with many waves in what was trained on stays; one with few is stretched.
    waves = told["original_max_position_embeddings"] * turns / (2 * np.pi)
    low, high = told["low_freq_factor"], told["high_freq_factor"]
    kept: NDArray[np.float64] = ((waves - low) / (high - low)).clip(0, 1)
    return 1 / ((1 - kept) / float(told["factor"]) + kept)
