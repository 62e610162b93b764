"""Bases as GGUF files, written as llama.cpp's converter writes them."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

from specialists.base import Base

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def write_gguf(
    file: Path,
    base: Base,
    *,
    cut: str = "gpt-2",
    tensors: Mapping[str, np.ndarray] | None = None,
    kinds: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    **changes: Any,
) -> Path:
    """A folder's base as a file.

    Args:
        file: where it goes.
        base: the folder.
        cut: how text is cut, where tokens are bytes.
        tensors: more of them.
        kinds: llama.cpp's format of tensors, by a part of their name; of others float32.
        without: tensors that are left out.
        changes: fields, with `__` for the dots of their names; None for one that is left out.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    config = json.loads((base.folder / "config.json").read_bytes())
    fields = _shape(config) | _vocabulary(base.folder, cut)
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    writer = gguf.GGUFWriter(file, fields.pop("general.architecture", "llama"))
    for name, value in fields.items():
        _add(writer, name, value)
    for name, tensor in (_tensors(base.folder, config) | dict(tensors or {})).items():
        kind = next(
            (kind for part, kind in (kinds or {}).items() if part in name and "norm" not in name),
            "F32",
        )
        quantised = gguf.GGMLQuantizationType[kind]
        if name in without:
            continue
        writer.add_tensor(name, gguf.quants.quantize(tensor, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def interleaved(weight: Any, heads: int) -> Any:
    """Rows of queries or keys as llama.cpp has them: the halves of each head by turns."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def rope_factors(base: Base) -> np.ndarray:
    """What llama.cpp's converter writes for a base whose positions are stretched as Llama 3's."""
    config = json.loads((base.folder / "config.json").read_bytes())
    rope, width = config["rope_parameters"], config["head_dim"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    began = rope["original_max_position_embeddings"]
    factors = []
    for place in range(0, width, 2):
        wave = 2 * np.pi * rope["rope_theta"] ** (place / width)
        if wave < began / high:
            factors.append(1.0)
        elif wave > began / low:
            factors.append(rope["factor"])
        else:
            smooth = (began / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    elif value is not None:
        writer.add_array(name, value)


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    rope = config["rope_parameters"]
    return {
        "llama.context_length": config["max_position_embeddings"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "llama.rope.freq_base": float(rope["rope_theta"]),
        "llama.rope.dimension_count": config["head_dim"],
        "llama.vocab_size": config["vocab_size"],
    }


def _vocabulary(folder: Path, cut: str) -> dict[str, Any]:
    state = json.loads((folder / "tokenizer.json").read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    ids = state["model"]["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    control = {each["content"] for each in state["added_tokens"] if each["special"]}
    pieces = state["model"]["byte_fallback"]
    fields = {
        "tokenizer.ggml.model": "llama" if pieces else "gpt2",
        "tokenizer.ggml.pre": "default" if pieces else cut,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_kind(token, control) for token in tokens],
        "tokenizer.ggml.bos_token_id": ids[config["bos_token"]],
        "tokenizer.ggml.eos_token_id": ids[config["eos_token"]],
        "tokenizer.ggml.unknown_token_id": ids[config["unk_token"]],
        "tokenizer.ggml.padding_token_id": ids[config["pad_token"]],
        "tokenizer.chat_template": (folder / "chat_template.jinja").read_text(),
    }
    if pieces:
        return fields | {"tokenizer.ggml.scores": [-float(place) for place in range(len(tokens))]}
    return fields | {"tokenizer.ggml.merges": [" ".join(each) for each in state["model"]["merges"]]}


def _kind(token: str, control: set[str]) -> int:
    if token in control:
        return CONTROL
    return BYTE if token.startswith("<0x") else NORMAL


def _tensors(folder: Path, config: dict[str, Any]) -> dict[str, np.ndarray]:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    found = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        count = heads.get(name.split(".")[-2])
        told = names.get_name(name, try_suffixes=(".weight",))
        found[told] = interleaved(tensor, count) if count else tensor
    return found
