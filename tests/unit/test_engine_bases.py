"""Bases of every shape that is accepted give what transformers gives."""

import json

import gguf
import numpy as np
import pytest
import torch
from engines import engine, make_adapter, run, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from texts import all_of
from tiny import tiny_base
from transformers import AutoModelForCausalLM

from specialists import hardware
from specialists.engine.engine import EngineOptions
from specialists.engine.text import Tokenizer
from specialists.gguf_file import GGUFFile, looked_up_once

CPU = torch.device("cpu")
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 500_000.0,
}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 10_000.0,
}
BASES = {
    "plain": {},
    "rope linear": {"rope_parameters": LINEAR},
    "rope llama3": {"rope_parameters": LLAMA3},
    "rope yarn": {"rope_parameters": YARN},
    "untied head": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 24},
    "one key head": {"num_key_value_heads": 1},
    "as many key heads": {"num_key_value_heads": 4},
    "pieces": {"pieces": True},
}


def network_of(base, adapter, dtype=torch.float32):
    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=dtype)
    return network if adapter is None else PeftModel.from_pretrained(network, adapter)


def greedy(network, prompt, count=24):
    """Tokens that the network finds likeliest, one by one."""
    tokens = torch.tensor([prompt])
    out = network.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=count,
        do_sample=False,
    )
    return out[0].tolist()[len(prompt) :]


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), **BASES[request.param])


def test_a_base_of_this_shape_gives_what_transformers_gives(base, tmp_path):
    """Prompts beyond the positions before scaling, with an adapter and without, in one batch."""
    adapter = make_adapter(base, tmp_path, seed=3)
    made = engine(base, {"a": adapter}, EngineOptions(weights="float32", kv_bytes=1 << 21))
    networks = {None: network_of(base, None), "a": network_of(base, adapter)}
    for length in (3, 100):
        prompt = [(7 * at) % 300 for at in range(1, length + 1)]
        rows = {name: sequence(made, prompt, name, max_tokens=24) for name in (None, "a")}
        run(made)
        for name, (row, _) in rows.items():
            assert row.tokens[length:] == greedy(networks[name], prompt)
    made.close()


@pytest.mark.skipif(not hardware.computes_bfloat16(CPU), reason="bfloat16 is emulated here")
def test_in_bfloat16_each_token_is_one_that_transformers_could_have_chosen(tmp_path):
    """Sums are taken in other orders, so that near ties may fall either way; nothing more."""
    base = tiny_base(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter", seed=3)
    made = engine(base, {"a": adapter}, EngineOptions(weights="bfloat16", kv_bytes=1 << 21))
    prompt = list(range(5, 45))
    rows = {name: sequence(made, prompt, name, max_tokens=24) for name in (None, "a")}
    run(made)
    for name, (row, _) in rows.items():
        given = row.tokens[len(prompt) :]
        network = network_of(base, adapter if name else None, torch.bfloat16)
        with torch.inference_mode():
            logits = network(torch.tensor([row.tokens])).logits[0].float()
        for at, token in enumerate(given):
            chosen = logits[len(prompt) + at - 1]
            assert chosen.max() - chosen[token] <= 0.02 * chosen.abs().max()
    made.close()


@pytest.mark.parametrize("text", ["hello fox", "a  b", "é🎈 z", "", "\n\n"])
def test_pieces_stream_what_the_tokenizer_decodes(tmp_path, text):
    base = tiny_base(tmp_path, pieces=True)
    tokenizer = Tokenizer.from_folder(base.folder)
    tokens = tokenizer.encode(text)
    _, shown = all_of(tokenizer.stream(()), tokens)
    assert shown == tokenizer.decode(tokens)


@settings(deadline=None, max_examples=200)
@given(st.text('aé🎈 "}', max_size=20), st.data())
def test_pieces_stream_text_however_it_is_cut_into_bytes(pieces, text, data):
    """Each character as its own token or as bytes, such as nobody's tokenizer would write it."""
    tokenizer, vocabulary = pieces
    tokens = []
    for character in text:
        whole = vocabulary.get(character.replace(" ", "▁"))
        split = [vocabulary[f"<0x{byte:02X}>"] for byte in character.encode()]
        tokens += split if whole is None or data.draw(st.booleans()) else [whole]
    _, shown = all_of(tokenizer.stream(()), tokens)
    assert shown == tokenizer.decode(tokens)
    assert "\ufffd" not in shown


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    tokenizer = Tokenizer.from_folder(tiny_base(folder, pieces=True).folder)
    return tokenizer, json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]


def test_pieces_on_their_own_are_text_and_bytes(tmp_path):
    base = tiny_base(tmp_path, pieces=True)
    tokenizer = Tokenizer.from_folder(base.folder)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    for token in tokenizer.encode("the é fox"):
        text, _ = tokenizer.token_text(token)
        assert "▁" not in text
        assert not text.startswith("<0x")
    assert tokenizer.token_text(vocabulary["<0x41>"]) == ("A", b"A")
    assert tokenizer.token_text(vocabulary["<0xE2>"]) == ("\ufffd", b"\xe2")
    joined = b"".join(tokenizer.token_text(token)[1] for token in tokenizer.encode("the é fox"))
    assert joined.decode() == " the é fox"


def test_bytes_that_are_no_text_end_no_answer(tmp_path):
    """A byte that was shown as a letter may turn out as part of no character at all."""
    tokenizer = Tokenizer.from_folder(tiny_base(tmp_path, pieces=True).folder)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    stream = tokenizer.stream(())
    tokens = [vocabulary[f"<0x{byte}>"] for byte in ("4B", "FF", "FE", "C3")]
    tokens += tokenizer.encode("fox")
    assert all_of(stream, tokens)[1].endswith("\ufffd fox")


def small_gguf(file):
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_token_list(["fox", "jumps", "ø"])
    writer.add_tensor("token_embd.weight", np.arange(96, dtype=np.float32).reshape(3, 32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_is_read_as_its_package_reads_it(tmp_path):
    file = small_gguf(tmp_path / "base.gguf")
    plain, quick = gguf.GGUFReader(file), GGUFFile(file)
    assert quick.fields.keys() == plain.fields.keys()
    for name, field in plain.fields.items():
        assert quick.fields[name].contents() == field.contents()
    for ours, theirs in zip(quick.tensors, plain.tensors, strict=True):
        assert (ours.name, ours.tensor_type) == (theirs.name, theirs.tensor_type)
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_what_is_remembered_of_a_gguf_file_is_forgotten_afterwards(tmp_path):
    file = GGUFFile(small_gguf(tmp_path / "base.gguf"))
    made, read = gguf.get_tensor_name_map, gguf.GGUFReader
    with looked_up_once(file):
        assert gguf.GGUFReader(str(file.path)) is file
        arch = gguf.MODEL_ARCH.LLAMA
        assert gguf.get_tensor_name_map(arch, 2) is gguf.get_tensor_name_map(arch, 2)
        assert gguf.get_tensor_name_map(arch, 2) is not gguf.get_tensor_name_map(arch, 3)
    assert gguf.get_tensor_name_map is made
    assert gguf.GGUFReader is read
