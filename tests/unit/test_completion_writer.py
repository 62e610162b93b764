"""Offsets of tokens lie within the text, whatever characters the tokens cut."""

from hypothesis import given
from hypothesis import strategies as st

from router.answer import Choice
from router.engine import TokenLogprob, Usage
from router.wire.completion_writer import CompletionWriter
from router.wire.writer import Envelope


def offsets(pieces: list[bytes]) -> list[int]:
    tokens = [TokenLogprob(piece.decode(errors="replace"), -1.0, tuple(piece)) for piece in pieces]
    text = b"".join(pieces).decode()
    writer = CompletionWriter(Envelope("cmpl-1", 0, "m", {}), logprobs=True)
    body = writer.body([Choice(0, text, tokens, "stop")], Usage(1, len(tokens)))
    return body["choices"][0]["logprobs"]["text_offset"]


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


def test_a_token_that_a_stop_text_cut_away_stands_at_the_end():
    tokens = [TokenLogprob(piece, -1.0, tuple(piece.encode())) for piece in ("one", " two", " x")]
    writer = CompletionWriter(Envelope("cmpl-1", 0, "m", {}), logprobs=True)
    body = writer.body([Choice(0, "one", tokens, "stop")], Usage(1, 3))
    assert body["choices"][0]["logprobs"]["text_offset"] == [0, 3, 3]


def test_alternatives_that_read_alike_are_all_there():
    halves = [b"\xf0\x9f", b"\xf0\x9e", b"\xef\xbf\xbd"]
    top = tuple(TokenLogprob(raw.decode(errors="replace"), -1.0 - at, tuple(raw))
                for at, raw in enumerate([*halves, b"a", b"a", b"a"]))  # fmt: skip
    writer = CompletionWriter(Envelope("cmpl-1", 0, "m", {}), logprobs=True)
    tokens = [TokenLogprob("a", -0.5, (97,), top)]
    [found] = writer.body([Choice(0, "a", tokens)], Usage(1, 1))["choices"][0]["logprobs"][
        "top_logprobs"
    ]
    assert sorted(found.values()) == [-6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
    assert found["bytes:\\xf0\\x9f"] == -1.0
    assert (found["a"], found["bytes:\\x61"]) == (-4.0, -5.0)
