"""Vectors are made once per version and read ever after."""

import numpy as np
import pytest
from hashed import HashedWords

from router.routing.vectors import TextVectors, VectorStore

DIGEST = "sha256:" + "ab" * 32


def never() -> list[str]:
    raise AssertionError("the examples were read again")


@pytest.fixture
def cache(tmp_path):
    VectorStore(HashedWords(), tmp_path).of_version(DIGEST, lambda: ["one fox", "two dogs"])
    return tmp_path


def test_a_second_start_reads_neither_card_nor_encoder(cache):
    encoder = HashedWords()
    kept = VectorStore(encoder, cache).of_version(DIGEST, never)
    expected = HashedWords().encode(["one fox", "two dogs"])
    np.testing.assert_allclose(kept.floats(), expected, atol=4e-3)
    assert encoder.encoded == []


def test_first_and_later_starts_hold_the_same_numbers(tmp_path):
    first = VectorStore(HashedWords(), tmp_path).of_version(DIGEST, lambda: ["a b c", "d e"])
    later = VectorStore(HashedWords(), tmp_path).of_version(DIGEST, never)
    np.testing.assert_array_equal(first.values, later.values)
    np.testing.assert_array_equal(first.floats(), later.floats())


def test_another_encoder_and_another_version_are_read_anew(cache):
    for encoder, digest in ((HashedWords(64), DIGEST), (HashedWords(), DIGEST[:-1] + "0")):
        VectorStore(encoder, cache).of_version(digest, lambda: ["three"])
        assert encoder.encoded == ["three"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"x" * 3000])
def test_a_damaged_file_is_made_anew(cache, damage, caplog):
    [file] = cache.glob("examples-*/*/*.npy")
    file.write_bytes(damage)
    encoder = HashedWords()
    VectorStore(encoder, cache).of_version(DIGEST, lambda: ["one fox", "two dogs"])
    assert encoder.encoded == ["one fox", "two dogs"]
    assert file.name in caplog.text
    VectorStore(HashedWords(), cache).of_version(DIGEST, never)


def test_nothing_else_is_left_in_the_folder(cache):
    assert len([file for file in cache.rglob("*") if file.is_file()]) == 1


def test_examples_that_say_the_same_count_once(tmp_path):
    texts = ["one fox", "One fox!", "one fox.", "two dogs"]
    assert len(VectorStore(HashedWords(), None).of_version(DIGEST, lambda: texts)) == 2


def test_the_texts_asked_for_longest_ago_are_forgotten():
    encoder = HashedWords()
    cache = TextVectors(encoder, 2)
    first = cache.encode(["a", "b", "a"])
    np.testing.assert_array_equal(first[0], first[2])
    cache.encode(["a"])
    cache.encode(["c"])
    encoder.encoded.clear()
    cache.encode(["a", "c"])
    assert encoder.encoded == []
    np.testing.assert_array_equal(cache.encode(["b"])[0], first[1])
    assert encoder.encoded == ["b"]


def test_more_texts_are_answered_than_are_held():
    assert TextVectors(HashedWords(), 2).encode(["a", "b", "c", "d"]).shape[0] == 4
