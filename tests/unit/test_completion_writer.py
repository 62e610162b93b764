"""Offsets of tokens lie within the text, whatever characters the tokens cut."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from router.answer import Choice
from router.engine import Usage
from router.logprobs import UNKNOWN, TokenLogprob, packed
from router.wire.completion_writer import CompletionWriter
from router.wire.writer import Envelope


def offsets(pieces: list[bytes]) -> list[int]:
    tokens = [TokenLogprob(piece.decode(errors="replace"), -1.0, piece) for piece in pieces]
    return written(b"".join(pieces).decode(), tokens)["text_offset"]


def written(text: str, tokens: list[TokenLogprob]) -> dict[str, list[Any]]:
    """What is told of the tokens of a text, as it is sent."""
    writer = CompletionWriter(Envelope("cmpl-1", 0, "m", {}), logprobs=True)
    choice = Choice(0, text, [packed(each) for each in tokens], finish_reason="stop")
    body = to_json(writer.body([choice], Usage(1, len(tokens))))
    return json.loads(body)["choices"][0]["logprobs"]


def test_a_character_of_several_tokens_counts_once():
    assert offsets([b"a", b"\xf0\x9f", b"\x8e\x88", b"b"]) == [0, 1, 1, 2]


@given(st.text(max_size=20), st.lists(st.integers(1, 3), max_size=60))
def test_offsets_rise_and_stay_within_the_text(text, sizes):
    raw, pieces = text.encode("utf-8", "ignore"), []
    for size in sizes:
        if raw:
            pieces.append(raw[:size])
            raw = raw[size:]
    pieces += [raw] if raw else []
    found = offsets(pieces)
    assert found == sorted(found)
    assert all(0 <= at <= len(text) for at in found)


def test_of_a_texts_first_token_it_is_not_known_how_likely_it_was():
    tokens = [TokenLogprob("a", UNKNOWN, b"a"), TokenLogprob("b", -1.0, b"b")]
    found = written("ab", tokens)
    assert (found["token_logprobs"], found["tokens"]) == ([None, -1.0], ["a", "b"])
    assert found["top_logprobs"] == [None, {}]


def test_a_token_that_a_stop_text_cut_away_stands_at_the_end():
    tokens = [TokenLogprob(piece, -1.0, piece.encode()) for piece in ("one", " two", " x")]
    assert written("one", tokens)["text_offset"] == [0, 3, 3]


def test_alternatives_that_read_alike_are_all_there():
    halves = [b"\xf0\x9f", b"\xf0\x9e", b"\xef\xbf\xbd"]
    top = tuple(TokenLogprob(raw.decode(errors="replace"), -1.0 - at, raw)
                for at, raw in enumerate([*halves, b"a", b"a", b"a"]))  # fmt: skip
    [found] = written("a", [TokenLogprob("a", -0.5, b"a", top)])["top_logprobs"]
    assert sorted(found.values()) == [-6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
    assert found["bytes:\\xf0\\x9f"] == -1.0
    assert (found["a"], found["bytes:\\x61"]) == (-4.0, -5.0)
