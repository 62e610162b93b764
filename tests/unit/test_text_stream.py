"""Streams of tokens as text: nothing lost, nothing early, stop texts never shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import all_of
from tiny import tiny_base

from specialists.engine.detokenizer import CHARACTER_BYTES, PiecesDetokenizer
from specialists.engine.text import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.from_folder(tiny_base(tmp_path_factory.mktemp("base")).folder)


def streamed(tokenizer, text, stop=()):
    stream = tokenizer.stream(stop)
    pieces = []
    for token in tokenizer.encode(text):
        pieces.append(stream.push(token))
        if stream.stopped_by:
            return [said for _, said in pieces], stream.stopped_by
    pieces.append(stream.flush())
    return [said for _, said in pieces], stream.stopped_by


def test_a_stop_text_that_shows_only_at_the_end_counts_as_one(tokenizer):
    """What a character lacked is known only when nothing follows it."""
    stream = tokenizer.stream(("b\ufffd",))
    cut = tokenizer.encode("é")
    text = "".join(stream.push(token)[1] for token in [*tokenizer.encode("ab"), *cut[:-1]])
    assert stream.stopped_by is None
    assert (text, *stream.flush()) == ("a", "", "")
    assert stream.stopped_by == "b\ufffd"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_tokens_come_their_pieces_add_up(tokenizer, data):
    """Bytes of no character, halves of some, control tokens: as the library decodes them all."""
    letters = [*tokenizer.encode("aé🎈 \ufffd"), *tokenizer.eos]
    tokens = data.draw(st.lists(st.sampled_from(letters), max_size=30))
    assert all_of(tokenizer.stream(()), tokens) == ("", tokenizer.decode(tokens))


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_pieces_add_up_to_the_text(tokenizer, text):
    pieces, _ = streamed(tokenizer, text)
    assert "".join(pieces) == tokenizer.decode(tokenizer.encode(text))


@settings(deadline=None, max_examples=300)
@given(
    text=st.text("abc é🎈", max_size=30),
    stop=st.lists(st.text("abc é", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_stop_text_ends_the_answer_where_it_begins(tokenizer, text, stop):
    pieces, stopped_by = streamed(tokenizer, text, tuple(stop))
    ends = [(at + len(word), at, word) for word in stop if (at := text.find(word)) >= 0]
    _, at, word = min(ends, default=(0, len(text), None))
    assert ("".join(pieces), stopped_by) == (text[:at], word)


def test_half_a_character_is_held_back(tokenizer):
    stream = tokenizer.stream(())
    pieces = [stream.push(token)[1] for token in tokenizer.encode("🎈")]
    assert pieces[:-1] == [""] * (len(pieces) - 1)
    assert pieces[-1] == "🎈"


def test_what_could_become_a_stop_text_is_held_back(tokenizer):
    stream = tokenizer.stream(("END",))
    shown = "".join(stream.push(token)[1] for token in tokenizer.encode("the EN"))
    assert shown == "the "
    assert stream.flush() == ("", "EN")


def test_token_bytes_are_exact(tokenizer):
    text = "naïve 🎈 café"
    raw = b"".join(tokenizer.token_text(token)[1] for token in tokenizer.encode(text))
    assert raw == text.encode()


def test_a_token_costs_the_same_whatever_came_before():
    """An answer may be of bytes alone that never become a character."""
    longest = 0

    def decode(tokens):
        nonlocal longest
        longest = max(longest, len(tokens))
        return "\ufffd" * len(tokens)

    detokenizer = PiecesDetokenizer(decode, {0})
    shown = "".join(detokenizer.push(token % 5) for token in range(5000)) + detokenizer.rest()
    assert shown == "\ufffd" * 4000
    assert longest <= 2 * CHARACTER_BYTES
