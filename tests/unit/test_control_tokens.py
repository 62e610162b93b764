"""What people write never becomes a control token, whatever the template."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CHATML, SPECIALS, tiny_base
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from router.engine import Message
from specialists.engine.control import ControlTokens
from specialists.engine.text import Tokenizer
from specialists.training.data import Row
from specialists.training.encoding import encode

START, END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
# Each template, and what it writes for a message: control tokens, and the text between them.
HEADERS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|endoftext|>\n\n'"
    " + message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|endoftext|>\n\n' }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
TEMPLATES = {
    "chatml": (CHATML, lambda turn: [(START,), f"{turn.role}\n{turn.content}", (END,), "\n"]),
    "headers": (
        HEADERS,
        lambda turn: [(START,), turn.role, (TEXT_END,), f"\n\n{turn.content.strip()}", (END,)],
    ),
    "plain": (PLAIN, lambda turn: [f"{turn.role}: {turn.content}", (END,)]),
}
OPENINGS = {
    "chatml": [(START,), "assistant\n"],
    "headers": [(START,), "assistant", (TEXT_END,), "\n\n"],
    "plain": ["assistant: "],
}
CONTENT = st.lists(
    st.sampled_from([*SPECIALS, "<|im_", "end|>", "<|", "|>", " ", "\n", "hello", "ä", "\ue0f0"])
    | st.text(max_size=5)
).map("".join)
TURNS = st.lists(CONTENT, min_size=1, max_size=3).map(
    lambda texts: [Message(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]
)


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def folder(request, tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), pieces=request.param == "pieces").folder


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def named(request, folder):
    """A tokenizer with one of the templates, and its name."""
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.chat_template = TEMPLATES[request.param][0]
    return request.param, theirs, Tokenizer(theirs, frozenset({theirs.eos_token_id}))


@cache
def blind_to_control(state: str) -> Backend:
    blind = Backend.from_str(state)
    blind.encode_special_tokens = True
    return blind


def reference(backend: Backend, parts: list) -> list[int]:
    """Tokens of control tokens, (name,), and of texts in which nothing is a control token."""
    blind = blind_to_control(backend.to_str())
    # What stands between two control tokens is one text to a tokenizer.
    joined: list = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    tokens: list[int] = []
    for part in joined:
        if isinstance(part, str):
            tokens += blind.encode(part, add_special_tokens=False).ids if part else []
        else:
            tokens.append(backend.token_to_id(part[0]))
    return tokens


@settings(max_examples=40)
@given(turns=TURNS)
def test_a_chat_is_tokenised_as_its_parts_are(named, turns):
    name, theirs, ours = named
    parts = [part for turn in turns for part in TEMPLATES[name][1](turn)]
    expected = reference(theirs.backend_tokenizer, [*parts, *OPENINGS[name]])
    assert ours.encode_chat(turns) == expected


@settings(max_examples=40)
@given(turns=TURNS.filter(lambda turns: not any(s in t.content for t in turns for s in SPECIALS)))
def test_a_chat_that_spells_none_is_tokenised_as_transformers_does(named, turns):
    _, theirs, ours = named
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    encoded = theirs.apply_chat_template(plain, add_generation_prompt=True)
    assert ours.encode_chat(turns) == list(encoded["input_ids"])


@settings(max_examples=40)
@given(asked=CONTENT, answer=CONTENT)
def test_training_sees_text_as_text_too(named, asked, answer):
    _, theirs, ours = named
    row = Row.model_validate(
        {
            "messages": [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answer},
            ]
        }
    )
    example = encode(row, ours, 10_000)
    assert example is not None
    question = row.messages[0]
    ends = example.tokens.count(theirs.eos_token_id)
    assert ends == len(row.messages)
    prompt = ours.encode_chat([question])
    assert example.tokens[: len(prompt)] == prompt
    assert not any(example.learnt[: len(prompt)])


@pytest.mark.parametrize("begun", ["Well, hello", "Well <|im_end|>", "1."])
def test_an_answer_that_has_begun_is_gone_on_with(named, begun):
    name, theirs, ours = named
    turns = [Message("user", "hi"), Message("assistant", begun)]
    *parts, last = [part for turn in turns for part in TEMPLATES[name][1](turn)][
        : -2 if name == "chatml" else -1
    ]
    expected = reference(theirs.backend_tokenizer, [*parts, last])
    assert ours.encode_chat(turns, continued=True) == expected


def test_what_is_prepared_is_not_made_when_it_is_needed(tmp_path, monkeypatch):
    tokenizer = Tokenizer.from_folder(tiny_base(tmp_path).folder)
    expected = tokenizer.encode_chat([Message("user", "<|im_end|>")])
    fresh = Tokenizer.from_folder(tmp_path)
    fresh.prepare()
    monkeypatch.setattr(ControlTokens, "_alias", None)
    assert fresh.encode_chat([Message("user", "<|im_end|>")]) == expected
