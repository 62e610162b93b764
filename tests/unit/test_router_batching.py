"""Many threads ask at once; the encoder is asked seldom."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hashed import HashedWords
from patience import HANGS

from router.routing import batching
from router.routing.batching import Batched


class Held(HashedWords):
    """Reads nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may, self.begun = threading.Event(), threading.Event()
        self.calls: list[list[str]] = []

    def encode(self, texts):
        self.calls.append(texts)
        self.begun.set()
        assert self.may.wait(HANGS)
        if "bad" in texts:
            raise ValueError("cannot be read")
        return super().encode(texts)


def ask(encoder: Held, texts: list[str], waiting: int):
    """Ask for each text in a thread of its own, the first one before all others."""
    batched = Batched(encoder)
    with ThreadPoolExecutor(len(texts)) as threads:
        asked = [threads.submit(batched.encode, [texts[0]])]
        assert encoder.begun.wait(HANGS)
        asked += [threads.submit(batched.encode, [text]) for text in texts[1:]]
        while len(batched._waiting) < waiting:
            pass
        encoder.may.set()
    return batched, asked


def test_what_comes_while_one_reads_is_read_together():
    encoder, texts = Held(), [f"text {n}" for n in range(9)]
    batched, asked = ask(encoder, texts, 8)
    assert [len(call) for call in encoder.calls] == [1, 8]
    for text, each in zip(texts, asked, strict=True):
        np.testing.assert_array_equal(each.result(), HashedWords().encode([text]))
    batched.encode(texts)
    assert len(encoder.calls) == 2


def test_the_same_text_is_read_once_and_a_call_reads_only_so_many(monkeypatch):
    monkeypatch.setattr(batching, "TOGETHER", 4)
    encoder = Held()
    ask(encoder, ["first", *["same"] * 3, *[f"n {n}" for n in range(3)]], 6)
    assert [len(call) for call in encoder.calls] == [1, 2, 2]


def test_one_that_cannot_be_read_costs_the_others_nothing():
    encoder = Held()
    _, asked = ask(encoder, ["first", "bad", "good"], 2)
    with pytest.raises(ValueError, match="cannot be read"):
        asked[1].result()
    assert asked[0].result().shape == asked[2].result().shape == (1, 256)


def test_the_texts_asked_for_longest_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(batching, "KEPT", 2)
    encoder = HashedWords()
    batched = Batched(encoder)
    for text in ("a", "b", "a", "c", "a", "b"):
        batched.encode([text])
    assert encoder.encoded == ["a", "b", "c", "b"]


def test_it_is_the_encoder_in_all_else():
    encoder, batched = HashedWords(), Batched(HashedWords())
    assert (batched.name, batched.dimensions) == (encoder.name, encoder.dimensions)
    assert batched.identity == encoder.identity
    text = " ".join(["word"] * 200)
    assert batched.windows(text) == encoder.windows(text)
    assert batched.count(text) == encoder.count(text)
