"""Rows: read, refused with file and line, and learnt only where the assistant speaks."""

import json

import pytest
from tiny import tiny_base

from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.training.data import Row, encode, read_rows

TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "good morning"},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "good evening"},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.from_folder(tiny_base(tmp_path_factory.mktemp("base")).folder)


def test_only_what_the_assistant_says_is_learnt(tokenizer):
    example = encode(Row.model_validate({"messages": TURNS}), tokenizer, 512)
    learnt = [token for token, own in zip(example.tokens, example.learnt, strict=True) if own]
    end = next(iter(tokenizer.eos))
    expected = [*tokenizer.encode("good morning"), end, *tokenizer.encode("good evening"), end]
    assert learnt == expected


def test_a_prompt_in_training_is_the_prompt_in_serving(tokenizer):
    row = Row.model_validate({"messages": TURNS})
    example = encode(row, tokenizer, 512)
    asked = tokenizer.encode_chat(row.request)
    assert example.tokens[: len(asked)] == asked
    assert example.learnt[len(asked)]


@pytest.mark.parametrize("answer", [" yes", "\n\nyes", "yes ", "  two  words", "x"])
def test_an_answer_is_learnt_as_it_is_written_whatever_it_begins_with(tokenizer, answer):
    """No token merges the end of the prompt with the beginning of the answer."""
    turns = [TURNS[1], {"role": "assistant", "content": answer}]
    row = Row.model_validate({"messages": turns})
    example = encode(row, tokenizer, 512)
    asked = tokenizer.encode_chat(row.request)
    assert example.tokens[: len(asked)] == asked
    assert example.learnt == [False] * len(asked) + [True] * (
        len(example.learnt) - len(asked) - example.learnt[::-1].index(True)
    ) + [False] * example.learnt[::-1].index(True)
    written = [token for token, own in zip(example.tokens, example.learnt, strict=True) if own]
    assert tokenizer.decode(written) == answer


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer, monkeypatch):
    render = tokenizer.render_chat
    monkeypatch.setattr(
        tokenizer,
        "render_chat",
        lambda turns, answer=True: f"{len(turns)}" + render(turns, answer=answer),
    )
    with pytest.raises(TrainingDataError, match="changes earlier turns"):
        encode(Row.model_validate({"messages": TURNS}), tokenizer, 512)


def test_a_row_over_the_limit_is_left_out(tokenizer):
    assert encode(Row.model_validate({"messages": TURNS}), tokenizer, 8) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2: row"),
        ('{"messages": []}', "the last message must be the assistant's"),
        (json.dumps({"messages": TURNS[:2]}), "the last message must be the assistant's"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "messages.0.role"),
        ('{"messages": [{"role": "assistant"}]}', "messages.0.content"),
        (json.dumps({"messages": TURNS, "extra": 1}), "extra"),
        (json.dumps({"messages": TURNS[2:]}), "must be the user's"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"messages": TURNS}) + "\n" + line + "\n")
    with pytest.raises(TrainingDataError, match="line 2") as refusal:
        read_rows(file)
    assert said in str(refusal.value)
    assert str(file) in str(refusal.value)


def test_separators_within_a_string_do_not_cut_the_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "a\u2028b\x85c"}, {"role": "assistant", "content": "d"}]
    file.write_text("\ufeff" + json.dumps({"messages": turns}, ensure_ascii=False))
    assert read_rows(file)[0].first_request == "a\u2028b\x85c"


def test_empty_missing_and_binary_files_are_refused(tmp_path):
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "binary.jsonl"
    empty.write_text("\n\n")
    binary.write_bytes(b"\xff\xfe\x00")
    for file in (empty, binary, tmp_path / "missing.jsonl"):
        with pytest.raises(TrainingDataError, match=file.name):
            read_rows(file)
