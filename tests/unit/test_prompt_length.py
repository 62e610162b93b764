"""Prompts that are far too long are refused before they are read to their end."""

import pytest
from tiny import tiny_base

from deploy.engine_replica import _prompt
from router.engine import Generation, Message
from specialists.engine.text import PIECE, Tokenizer
from specialists.errors import ContextOverflow


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.from_folder(tiny_base(tmp_path_factory.mktemp("base")).folder)


class Counting:
    """A tokenizer that notes how much it was given."""

    def __init__(self, backend):
        self.backend = backend
        self.characters = 0

    def encode(self, text, **options):
        self.characters += len(text)
        return self.backend.encode(text, **options)


@pytest.mark.parametrize("prompt", ["a b " * 1_000_000, (Message("user", "c d " * 1_000_000),)])
def test_a_text_that_cannot_fit_is_not_read_to_its_end(tokenizer, monkeypatch, prompt):
    counting = Counting(tokenizer._backend)
    monkeypatch.setattr(tokenizer, "_backend", counting)
    with pytest.raises(ContextOverflow) as refusal:
        _prompt(Generation("r", None, prompt), tokenizer, 256)
    assert refusal.value.prompt_tokens > 256
    assert counting.characters <= 2 * PIECE


def test_a_count_is_never_too_large(tokenizer):
    """A text of few tokens and very many characters is taken, if a vocabulary has such tokens."""
    text = "The quick brown fox jumps over the lazy dog." * 1000
    exact = len(tokenizer.encode(text))
    tokenizer.require_room([text], exact)
    with pytest.raises(ContextOverflow) as refusal:
        tokenizer.require_room([text], exact // 10)
    assert refusal.value.prompt_tokens <= exact


def test_what_fits_is_tokenised_once(tokenizer, monkeypatch):
    counting = Counting(tokenizer._backend)
    monkeypatch.setattr(tokenizer, "_backend", counting)
    assert _prompt(Generation("r", None, "hello fox"), tokenizer, 256)
    assert counting.characters == 0
