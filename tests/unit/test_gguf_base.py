"""Bases in GGUF files become what they were made of: weights, positions, and each token."""

import json
import os

import gguf
import numpy as np
import pytest
import torch
from gguf_files import rope_factors, write_gguf
from safetensors.torch import load_file
from tiny import TEXTS, tiny_base
from transformers import AutoConfig, AutoTokenizer

from router.engine import Message
from specialists.base import Base, locate_base, prepare_base
from specialists.engine.text import Tokenizer
from specialists.errors import BaseUnavailable
from specialists.generation_config import end_tokens
from specialists.gguf_file import GGUFFile
from specialists.progress import silent

LLAMA_3 = {
    "rope_theta": 500_000.0,
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LINEAR = {"rope_theta": 10_000.0, "rope_type": "linear", "factor": 4.0}
YARN = LINEAR | {"rope_type": "yarn", "original_max_position_embeddings": 64}
TOLD = {
    "linear": {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0},
    "yarn": {
        "llama__rope__scaling__type": "yarn",
        "llama__rope__scaling__factor": 4.0,
        "llama__rope__scaling__original_context_length": 64,
    },
    "yarn, from all": {
        "llama__rope__scaling__type": "yarn",
        "llama__rope__scaling__factor": 4.0,
    },
}
ODD = (
    "  two spaces first",
    "a\n\n\tb",
    "",
    " ",
    "12345 6",
    "naïve ☃ 🦊",
    "<|im_end|>fox<|im_end|>",
)
NONSENSE = (b"", b"GGUF", b"no such file" * 9, b"GGUF\3\0\0\0" + b"\xff" * 64)


def unpacked(folder, base, **changes) -> Base:
    file = write_gguf(folder / "fox-1b.Q8.gguf", base, **changes)
    return prepare_base(str(file), folder / "home", silent)


def vocabulary_with(base: Base, word: str, instead: str | None = None) -> None:
    """Give a tokenizer a word that no merges lead to, in the place of another, else of the last."""
    file = base.folder / "tokenizer.json"
    state = json.loads(file.read_text())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    instead = instead or max(vocabulary, key=vocabulary.__getitem__)
    vocabulary[word] = vocabulary.pop(instead)
    state["model"]["merges"] = [each for each in merges if "".join(each) != instead]
    for each in state["added_tokens"]:
        each["content"] = word if each["content"] == instead else each["content"]
    file.write_text(json.dumps(state))
    config = base.folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace(json.dumps(instead), json.dumps(word)))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("pieces", [True, False])
def test_it_becomes_the_folder_that_it_was_made_of(tmp_path, pieces, tied):
    base = tiny_base(tmp_path / "base", pieces=pieces, tie_word_embeddings=tied)
    made = unpacked(tmp_path, base)
    assert made.name == "fox-1b.Q8"
    kept, given = (load_file(each.folder / "model.safetensors") for each in (made, base))
    assert kept.keys() == given.keys()
    for name, weight in given.items():
        torch.testing.assert_close(kept[name], weight.to(torch.bfloat16), rtol=0, atol=0)
    ours, theirs = (Tokenizer.from_folder(each.folder) for each in (made, base))
    for text in (*TEXTS, *ODD):
        assert ours.encode_part(text) == theirs.encode_part(text)
    chat = [Message("user", " Which fox? 42")]
    assert ours.encode_chat(chat) == theirs.encode_chat(chat)
    assert theirs.eos <= ours.eos


def test_it_tells_of_each_tensor(tmp_path):
    told = []
    file = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "base"))
    prepare_base(str(file), tmp_path / "home", lambda *step: told.append(step))
    count = len(GGUFFile(file).tensors)
    assert count > 10
    unpacking = [step for step in told if step[0] == "Unpacking weights"]
    assert [step[1:] for step in unpacking] == [(at, count) for at in range(1, count + 1)]
    assert told[-1] == ("The base is ready", 4, 4)


@pytest.mark.parametrize("pieces", [True, False])
def test_no_token_is_added_to_those_of_the_file(tmp_path, pieces):
    """transformers has defaults of its own for tokens that a file does not name."""
    base = tiny_base(tmp_path / "base", pieces=pieces)
    vocabulary_with(base, "<|other|>", instead="<|endoftext|>")
    unnamed = {f"tokenizer__ggml__{each}_token_id": None for each in ("unknown", "padding")}
    made = unpacked(tmp_path, base, **unnamed)
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    assert len(tokenizer) == AutoConfig.from_pretrained(made.folder).vocab_size
    assert "<|endoftext|>" not in tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("rope", "fields"),
    [
        (LLAMA_3, {}),
        (LINEAR, TOLD["linear"]),
        (YARN, TOLD["yarn"]),
        # As llama.cpp has it where nothing is said: from as many as the base was made for.
        (YARN | {"original_max_position_embeddings": 256}, TOLD["yarn, from all"]),
    ],
)
def test_positions_are_stretched_as_they_were(tmp_path, rope, fields):
    base = tiny_base(tmp_path / "base", rope_parameters=rope, head_dim=16)
    factors = {"rope_freqs.weight": rope_factors(base)} if rope is LLAMA_3 else {}
    made = unpacked(tmp_path, base, tensors=factors, **fields)
    config = AutoConfig.from_pretrained(made.folder)
    assert {name: config.rope_parameters[name] for name in rope} == rope
    assert config.head_dim == 16


def test_a_stretch_that_is_not_llama_3s_is_refused(tmp_path):
    base = tiny_base(tmp_path / "base", rope_parameters=LLAMA_3)
    odd = {"rope_freqs.weight": np.array([1, 2, 3, 4], np.float32)}
    with pytest.raises(BaseUnavailable, match="stretches positions in a way that Llama 3 does not"):
        unpacked(tmp_path, base, tensors=odd)


def test_a_word_of_llama_3s_vocabulary_is_one_token_whatever_the_merges_say(tmp_path):
    base = tiny_base(tmp_path / "base")
    vocabulary_with(base, "fxo")
    merged = Tokenizer.from_folder(unpacked(tmp_path / "a", base, cut="gpt-2").folder)
    whole = Tokenizer.from_folder(unpacked(tmp_path / "b", base, cut="llama-bpe").folder)
    assert len(merged.encode_part("fxo")) == 3
    assert len(whole.encode_part("fxo")) == 1


@pytest.mark.parametrize(
    ("cut", "fields", "first"),
    [
        ("llama-bpe", {}, True),
        ("llama-bpe", {"tokenizer__ggml__add_bos_token": False}, False),
        ("gpt-2", {}, False),
        ("gpt-2", {"tokenizer__ggml__add_bos_token": True}, True),
    ],
)
def test_a_text_begins_as_llama_cpp_has_it_begin(tmp_path, cut, fields, first):
    base = tiny_base(tmp_path / "base")
    tokenizer = Tokenizer.from_folder(unpacked(tmp_path, base, cut=cut, **fields).folder)
    begun = tokenizer.encode_part("<|im_start|>") if first else []
    assert tokenizer.encode("fox") == begun + tokenizer.encode_part("fox")


def test_pieces_need_no_space_where_the_file_says_so(tmp_path):
    base = tiny_base(tmp_path / "base", pieces=True)
    made = unpacked(tmp_path, base, tokenizer__ggml__add_space_prefix=False)
    tokenizer = Tokenizer.from_folder(made.folder)
    shown = [tokenizer.token_text(token)[0] for token in tokenizer.encode_part("fox")]
    assert "".join(shown) == "fox"


def test_a_template_of_its_own_for_tools_is_kept(tmp_path):
    base = tiny_base(tmp_path / "base")
    made = unpacked(
        tmp_path,
        base,
        tokenizer__chat_templates=["tool_use"],
        tokenizer__chat_template__tool_use="{{ tools[0].function.name }} may be called",
    )
    ours, theirs = (Tokenizer.from_folder(each.folder) for each in (made, base))
    chat = [Message("user", "Which fox?")]
    assert ours.render_chat(chat) == theirs.render_chat(chat)
    template = AutoTokenizer.from_pretrained(made.folder).chat_template
    assert template["tool_use"] == "{{ tools[0].function.name }} may be called"


def test_all_that_may_end_an_answer_ends_it(tmp_path):
    base = tiny_base(tmp_path / "base")
    tokens = Tokenizer.from_folder(base.folder).encode_part("<|endoftext|><|im_end|>fox")
    made = unpacked(tmp_path, base, tokenizer__ggml__eom_token_id=tokens[2])
    assert end_tokens(made.folder) == set(tokens[:3])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"general__architecture": "qwen2"}, "a model of the kind 'qwen2', and a Llama is served"),
        ({"llama__expert_count": 8}, "a model of the kind 'llama' with experts"),
        ({"split__count": 2}, "is a part of a model: merge all"),
        ({"cut": "command-r"}, "cuts text as 'command-r', which is not known here"),
        ({"tokenizer__ggml__pre": None}, "cuts text as None, which is not known here"),
        ({"llama__rope__scaling__type": "longrope"}, "stretches positions by 'longrope'"),
        ({"tensors": {"blk.0.attn_q.bias": np.zeros(32, np.float32)}}, "a model with biases"),
        ({"without": ["blk.1.ffn_up.weight"]}, "lacks weights: model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path, changes, problem):
    with pytest.raises(BaseUnavailable, match=problem):
        unpacked(tmp_path, tiny_base(tmp_path / "base"), **changes)
    assert list((tmp_path / "home" / "base").iterdir()) == []


def test_a_format_that_the_package_does_not_know_is_refused(tmp_path, monkeypatch):
    def dequantize(data, kind):
        raise NotImplementedError(f"Dequantization for {kind.name} is not yet implemented")

    monkeypatch.setattr(gguf, "dequantize", dequantize)
    with pytest.raises(BaseUnavailable, match="cannot be unpacked: Dequantization for F32 is not"):
        unpacked(tmp_path, tiny_base(tmp_path / "base"))


@pytest.mark.parametrize("content", NONSENSE)
def test_nonsense_is_refused(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(BaseUnavailable, match="cannot be read as a GGUF file"):
        prepare_base(str(tmp_path / "x.gguf"), tmp_path / "home", silent)


def test_a_file_that_breaks_off_is_refused(tmp_path):
    file = write_gguf(tmp_path / "x.gguf", tiny_base(tmp_path / "base"))
    whole = file.read_bytes()
    for kept in (0.02, 0.3, 0.9):
        file.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(BaseUnavailable, match="cannot be read as a GGUF file"):
            prepare_base(str(file), tmp_path / "home", silent)


def test_it_is_unpacked_once_for_each_content(tmp_path, monkeypatch):
    file = write_gguf(tmp_path / "x.gguf", tiny_base(tmp_path / "base"))
    home = tmp_path / "home"
    with pytest.raises(BaseUnavailable, match="run `myriad setup` first"):
        locate_base(str(file), home)
    first = prepare_base(str(file), home, silent)
    assert locate_base(str(file), home) == first
    monkeypatch.setattr("specialists.gguf_base.unpack", None)
    assert prepare_base(str(file), home, silent) == first
    os.utime(file, ns=(1, 1))
    with pytest.raises(BaseUnavailable, match="run `myriad setup` first"):
        locate_base(str(file), home)


def test_a_folder_of_such_files_says_how_one_is_named(tmp_path):
    file = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "base"))
    with pytest.raises(BaseUnavailable, match=f"MYRIAD_BASE={file} would unpack that file"):
        locate_base(str(tmp_path), tmp_path)


def test_a_file_that_is_not_there_is_said(tmp_path):
    file = str(tmp_path / "none.gguf")
    with pytest.raises(BaseUnavailable, match=r"there is no file .*none\.gguf"):
        locate_base(file, tmp_path)
    with pytest.raises(BaseUnavailable, match=r"there is no file .*none\.gguf"):
        prepare_base(file, tmp_path, silent)
