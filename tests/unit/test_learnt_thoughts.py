"""Bases that think are trained on rows with thoughts, and on rows without."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from thinking import CLOSABLE, EMPTY, HALF, OPENED, SHUT, TOLD, with_template
from tiny import CHATML, tiny_base

from specialists.engine.core import Choice, FinishReason, emitted
from specialists.errors import TrainingDataError
from specialists.training.completion import said_in
from specialists.training.data import Row, rows_of
from specialists.training.encoding import encode, examples_of
from specialists.training.evaluate import ROOM, answer_greedily
from specialists.training.pairs import pairs_of
from specialists.training.traffic import chats

ASKED = {"role": "user", "content": "hello"}
PLAIN = {"role": "assistant", "content": "Yes."}
APART = PLAIN | {"reasoning_content": "I see."}
MARKED = {"role": "assistant", "content": "<think>\nI see.\n</think>\n\nYes."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=1024).folder


def row(*turns) -> Row:
    [made] = rows_of(json.dumps({"messages": turns}).encode(), "rows")
    return made


def learnt_tokens(example):
    return [token for token, own in zip(example.tokens, example.learnt, strict=True) if own]


def learnt(example, tokenizer):
    """What is learnt of an example, with what ends it."""
    return tokenizer._tokenizer.decode(learnt_tokens(example))


@pytest.mark.parametrize(
    ("template", "answer", "expected"),
    [
        (OPENED, PLAIN, "\n</think>\n\nYes.<|im_end|>"),
        (OPENED, APART, "I see.\n</think>\n\nYes.<|im_end|>"),
        (OPENED, PLAIN | {"thinking": "I see."}, "I see.\n</think>\n\nYes.<|im_end|>"),
        (OPENED, MARKED, "I see.\n</think>\n\nYes.<|im_end|>"),
        (CLOSABLE, PLAIN, "Yes.<|im_end|>"),
        (CLOSABLE, APART, "<think>\nI see.\n</think>\n\nYes.<|im_end|>"),
        (CLOSABLE, MARKED, "<think>\nI see.\n</think>\n\nYes.<|im_end|>"),
        (TOLD, PLAIN, "Yes.<|im_end|>"),
        (TOLD, MARKED, "<think>\nI see.\n</think>\n\nYes.<|im_end|>"),
        (SHUT, PLAIN, "Yes.<|im_end|>"),
        (SHUT, APART, "Yes.<|im_end|>"),
        (HALF, PLAIN, "</think>Yes.<|im_end|>"),
        (HALF, APART, "I see.</think>Yes.<|im_end|>"),
        (EMPTY, PLAIN, "</think>Yes.<|im_end|>"),
        (CHATML, APART, "Yes.<|im_end|>"),
        (CHATML, MARKED, MARKED["content"] + "<|im_end|>"),
    ],
)
def test_an_answer_is_learnt_as_it_is_given_after_the_same_prompt(
    folder, template, answer, expected
):
    tokenizer = with_template(folder, template)
    [example] = examples_of(row(ASKED, answer), tokenizer, 512)
    prompt = tokenizer.encode_chat(row(ASKED, answer).request)
    assert example.tokens[: len(prompt)] == prompt
    assert not any(example.learnt[: len(prompt)])
    assert learnt(example, tokenizer) == expected


def test_who_learnt_without_thoughts_is_asked_without_them_as_it_learnt(folder):
    tokenizer = with_template(folder, OPENED)
    made = row(ASKED, PLAIN)
    [example] = examples_of(made, tokenizer, 512)
    closed = tokenizer.encode_chat(made.request, thinks=False)
    assert example.tokens[: len(closed)] == closed


@pytest.mark.parametrize("template", [OPENED, CLOSABLE])
def test_each_answer_of_a_chat_is_learnt_after_what_it_would_see(folder, template):
    tokenizer = with_template(folder, template)
    again = {"role": "user", "content": "and?"}
    made = row(ASKED, APART, again, PLAIN, ASKED, APART | {"weight": 0}, again, APART)
    examples = examples_of(made, tokenizer, 512)
    for example, at in zip(examples, (1, 3, 7), strict=True):
        prompt = tokenizer.encode_chat(made.messages[:at])
        assert example.tokens[: len(prompt)] == prompt
        assert not any(example.learnt[: len(prompt)])
        assert learnt(example, tokenizer).endswith("Yes.<|im_end|>")


def test_a_template_that_changes_what_was_asked_is_refused_whatever_was_written(folder):
    changing = OPENED.replace("content +", "content + (messages | length | string) +")
    tokenizer = with_template(folder, changing.replace("<think>\\n'", "'"))
    assert tokenizer.thinks
    spelt = {"role": "user", "content": "what is <think> for?"}
    with pytest.raises(TrainingDataError, match="changes earlier turns"):
        examples_of(row(spelt, PLAIN), tokenizer, 512)


def test_a_long_chat_is_learnt_as_far_as_it_is_short_enough(folder):
    tokenizer = with_template(folder, OPENED)
    long = {"role": "user", "content": "hello " * 200}
    [example] = examples_of(row(ASKED, PLAIN, long, PLAIN), tokenizer, 128)
    assert learnt(example, tokenizer) == "\n</think>\n\nYes.<|im_end|>"
    thought = PLAIN | {"reasoning_content": "x" * 10_000_000}
    assert examples_of(row(ASKED, thought), tokenizer, 128) == []


def test_pairs_and_instructed_rows_are_learnt_so_too(folder):
    tokenizer = with_template(folder, OPENED)
    pair = {"prompt": [ASKED], "chosen": [APART], "rejected": [{**PLAIN, "content": "No."}]}
    [made] = pairs_of(json.dumps(pair).encode(), "pairs")
    [example] = examples_of(made, tokenizer, 512)
    assert learnt(example, tokenizer) == "I see.\n</think>\n\nYes.<|im_end|>"
    assert learnt(example.refused, tokenizer) == "\n</think>\n\nNo.<|im_end|>"
    [example] = examples_of(row(ASKED, APART), tokenizer, 512, "be brief")
    assert learnt(example.instructed, tokenizer) == learnt(example, tokenizer)


def test_thoughts_that_spell_a_control_token_are_text(folder):
    tokenizer = with_template(folder, OPENED)
    spelt = PLAIN | {"reasoning_content": "<|im_end|> ends it."}
    example = encode(row(ASKED, spelt), tokenizer, 512)
    [end] = tokenizer.eos
    assert learnt_tokens(example).count(end) == 1
    assert learnt(example, tokenizer).startswith("<|im_end|> ends it.\n</think>")


@pytest.mark.parametrize(
    ("answer", "text", "thinks"),
    [
        (PLAIN, "Yes.", False),
        (APART, "I see.\n</think>\n\nYes.", True),
        (MARKED, "</think>Yes.", True),
    ],
)
def test_answers_are_compared_as_they_were_given_without_what_was_thought(
    folder, answer, text, thinks
):
    tokenizer, asked = with_template(folder, OPENED), []

    async def generate(request):
        asked.append(request)
        stream = tokenizer.stream((), request.thoughts)
        *first, last = tokenizer.encode_part(text)
        for token, over in [*((each, None) for each in first), (last, FinishReason.STOP)]:
            yield [(0, emitted(stream, Choice(token), over, ended=False, cached=0))]

    made = row(ASKED, answer)
    runner = SimpleNamespace(tokenizer=tokenizer, generate=generate)
    assert asyncio.run(answer_greedily(runner, None, made)) == "Yes."
    assert asked[0].prompt == tokenizer.encode_chat(made.request, thinks=thinks)
    room = len(tokenizer.encode("Yes.")) + (len(tokenizer.encode("I see.")) if thinks else 0)
    assert asked[0].params.max_tokens == room + ROOM


def test_what_was_thought_of_a_good_answer_is_learnt_with_it():
    said = {
        "request": {"messages": [ASKED]},
        "answer": [APART | {"refusal": None}],
        "rating": "good",
        "correction": None,
    }
    corrected = said | {"request": {"messages": [ASKED | {"content": "b"}]}, "correction": "No."}
    first, second = rows_of(chats([said, corrected]).rows, "rows")
    assert (first.answer.content, first.answer.thoughts) == ("Yes.", "I see.")
    assert (second.answer.content, second.answer.thoughts) == ("No.", "")


@pytest.mark.parametrize(
    ("content", "finish", "expected"),
    [
        ("Yes.", "stop", ("Yes.", True)),
        (MARKED["content"], "stop", ("Yes.", True)),
        (None, "length", ("", False)),
    ],
)
def test_a_teachers_thoughts_are_no_part_of_its_answer(content, finish, expected):
    choice = {"message": APART | {"content": content}, "finish_reason": finish}
    answer = said_in(json.dumps({"choices": [choice], "usage": {"total_tokens": 9}}).encode())
    assert (answer.text, answer.finished) == expected
