"""Rows: read, refused with file and line, and learnt only where the assistant speaks."""

import json

import pytest
from tiny import tiny_base

from specialists.engine.text import Tokenizer
from specialists.errors import TrainingDataError
from specialists.training.data import Row, read_rows
from specialists.training.encoding import encode

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
        lambda turns, answer=True, **more: f"{len(turns)}" + render(turns, answer=answer, **more),
    )
    with pytest.raises(TrainingDataError, match="changes earlier turns"):
        encode(Row.model_validate({"messages": TURNS}), tokenizer, 512)


def test_a_row_over_the_limit_is_left_out(tokenizer):
    assert encode(Row.model_validate({"messages": TURNS}), tokenizer, 8) is None


def test_a_row_that_is_far_too_long_is_not_even_cut_into_tokens():
    turns = [TURNS[1], {"role": "assistant", "content": "x" * 50_000_000}]
    assert encode(Row.model_validate({"messages": turns}), None, 1024) is None


CHAT = json.dumps({"messages": TURNS})


def read(tmp_path, text):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_rows(file)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: is not JSON"),
        ("[]", "line 2: is no object"),
        ("{}", "line 2: has none of these: 'messages'; 'conversations'"),
        ('{"messages": []}', "the last message must be the assistant's"),
        ('{"messages": 3}', "'messages' must be a list"),
        (json.dumps({"messages": TURNS[:2]}), "the last message must be the assistant's"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "'messages[0]' has the role 'robot'"),
        ('{"messages": [{"role": "assistant"}]}', "'messages[0].content' must be a string"),
        (json.dumps({"messages": TURNS[2:]}), "must be the user's"),
        ('{"prompt": "a", "completion": 3}', "'messages[1].content' must be a string"),
        ('{"prompt": "a", "completion": "\\ud800"}', "end of hex escape"),
        (
            json.dumps({"messages": [*TURNS[:-1], TURNS[-1] | {"weight": 2}]}),
            "'messages[4].weight' must be 0 or 1",
        ),
        (
            json.dumps({"messages": [turn | {"weight": 0} for turn in TURNS]}),
            "nothing would be learnt",
        ),
        (
            json.dumps({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}),
            "'messages[0].tool_calls[0]' must be a function with a name",
        ),
        (
            json.dumps({"messages": [{"role": "assistant", "tool_calls": "x"}]}),
            "'messages[0].tool_calls' must be a list",
        ),
        (
            json.dumps(
                {
                    "messages": [
                        {"role": "assistant", "function_call": {"name": "f", "arguments": "["}}
                    ]
                }
            ),
            "arguments that are no JSON object",
        ),
        (json.dumps({"messages": TURNS, "tools": [{"name": 1}]}), "'tools[0]' must be a function"),
        (json.dumps({"messages": TURNS, "tools": "none"}), "'tools' must be a list"),
        (
            json.dumps({"messages": TURNS, "tools": [{"name": "f", "parameters": "x"}]}),
            "no schema",
        ),
        (
            json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "not text",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    with pytest.raises(TrainingDataError, match="line 2") as refusal:
        read(tmp_path, f"{CHAT}\n{line}\n")
    assert said in str(refusal.value)
    assert "rows.jsonl: 1 of 2 rows" in str(refusal.value)


def test_all_bad_lines_are_named_at_once(tmp_path):
    with pytest.raises(TrainingDataError) as refusal:
        read(tmp_path, "\n".join([CHAT, "{", CHAT, '{"messages": [{}]}', *["[]"] * 100]))
    head, *lines = str(refusal.value).splitlines()
    assert "102 of 104 rows" in head
    assert [line.split()[1] for line in lines[:2]] == ["2:", "4:"]
    assert len(lines) == 51
    assert lines[-1].strip() == "and 52 more"


def test_an_array_that_is_no_json_is_named_once(tmp_path):
    with pytest.raises(TrainingDataError, match=r"1 of 1 rows.*\n.*is not JSON.*line 3"):
        read(tmp_path, f"[\n{CHAT},\n,\n{CHAT}\n]")


ASKED, SAID = {"role": "user", "content": "hi there"}, {"role": "assistant", "content": " hello"}


@pytest.mark.parametrize(
    ("row", "before"),
    [
        ({"messages": [ASKED, SAID], "tools": [], "id": 7, "parallel_tool_calls": True}, []),
        (
            {
                "messages": [
                    {"role": "developer", "content": "be kind"},
                    {"role": "user", "name": "ann", "content": [
                        {"type": "text", "text": "hi "}, {"type": "text", "text": "there"},
                    ]},
                    SAID | {"weight": 1, "refusal": None, "tool_calls": None},
                ]
            },
            ["be kind"],
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "hi there"}, {"from": "gpt", "value": " hello"},
                ]
            },
            [],
        ),
        (
            {
                "system": "be kind",
                "conversations": [ASKED, SAID],
            },
            ["be kind"],
        ),
        ({"instruction": "hi there", "input": "", "output": " hello"}, []),
        (
            {
                "instruction": "hi", "input": "there", "output": " hello", "system": "be kind",
                "history": [["a", "b"]],
            },
            ["be kind", "a", "b"],
        ),
        ({"prompt": "hi there", "completion": " hello"}, []),
        ({"prompt": [ASKED], "completion": [SAID]}, []),
    ],
)  # fmt: skip
def test_every_form_becomes_the_same_chat(tmp_path, row, before):
    line = json.dumps(row)
    for text in (line, json.dumps([row], indent=2), f"\ufeff{line}\r\n\r\n"):
        [found] = read(tmp_path, text)
        *early, asked, said = [turn.content for turn in found.messages]
        assert early == before
        assert (asked.replace("\n", " "), said) == ("hi there", " hello")
        assert found.messages[-1].role == "assistant"


LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
CALLED = {"name": "look", "arguments": {"at": "b", "n": [1, 2]}}
RESULT = "a tree"
OPENAI = {
    "tools": [{"type": "function", "function": LOOK}],
    "messages": [
        ASKED,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": CALLED | {"arguments": '{"at":"b","n":[1,2]}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": RESULT},
        SAID,
    ],
}
SHAREGPT = {
    "tools": json.dumps([LOOK]),
    "conversations": [
        {"from": "human", "value": "hi there"},
        {"from": "function_call", "value": json.dumps(CALLED)},
        {"from": "observation", "value": RESULT},
        {"from": "gpt", "value": " hello"},
    ],
}


@pytest.mark.parametrize("row", [OPENAI, SHAREGPT], ids=["openai", "sharegpt"])
def test_calls_are_learnt_as_they_are_served(tmp_path, tokenizer, row):
    [read_back] = read(tmp_path, json.dumps(row))
    [call] = read_back.messages[1].calls
    assert (call.name, call.arguments) == ("look", '{"at": "b", "n": [1, 2]}')
    example = encode(read_back, tokenizer, 2048)
    learnt = [token for token, own in zip(example.tokens, example.learnt, strict=True) if own]
    end = next(iter(tokenizer.eos))
    said = tokenizer.said(read_back.messages[1])
    assert said == tokenizer.calls.write(read_back.messages[1].calls)
    assert learnt == [*tokenizer.encode_part(said), end, *tokenizer.encode_part(" hello"), end]
    served = tokenizer.encode_chat(read_back.messages[:1], tools=read_back.tools)
    assert example.tokens[: len(served)] == served


def test_an_answer_without_weight_is_read_and_not_learnt(tokenizer):
    whole = encode(Row.model_validate({"messages": TURNS}), tokenizer, 512)
    silent = [turn | {"weight": 0} if turn is TURNS[2] else turn for turn in TURNS]
    partly = encode(Row.model_validate({"messages": silent}), tokenizer, 512)
    assert partly.tokens == whole.tokens
    assert sum(partly.learnt) == len(tokenizer.encode_part("good evening")) + 1
    assert sum(whole.learnt) == sum(partly.learnt) + len(tokenizer.encode_part("good morning")) + 1


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
