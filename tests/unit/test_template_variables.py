"""What else a request tells the base's chat template."""

import pytest
from tiny import CHATML, tiny_base
from transformers import AutoTokenizer

from deploy.engine_replica import _prompt
from router.engine import Generation, Message
from specialists.engine.chat_template import VARIABLES
from specialists.engine.text import Tokenizer
from specialists.errors import ContextOverflow, InvalidPrompt, InvalidSampling

# As templates of bases that think, that are told the date, or given documents.
TEMPLATE = (
    "{% if today is defined %}{{ today }}{% endif %}"
    "{% for each in documents or [] %}{{ each.title ~ ': ' ~ each.text }}{% endfor %}"
    "{% if steps is defined %}{% for step in range(steps) %}{{ step }}{% endfor %}{% endif %}"
    "{% if name is defined %}{{ name.upper() ~ name['first'] }}{% endif %}"
    + CHATML
    + "{% if enable_thinking is false %}no thoughts{% endif %}"
)
ASKED = Message("user", "hello")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    made = AutoTokenizer.from_pretrained(tiny_base(tmp_path_factory.mktemp("base")).folder)
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def ours(theirs):
    return Tokenizer(theirs, frozenset({theirs.eos_token_id}))


@pytest.mark.parametrize(
    "variables",
    [
        {"enable_thinking": False},
        {"enable_thinking": True},
        {"today": "1 Dec 2026", "steps": 3},
        {"documents": [{"title": "a", "text": "b"}, {"title": "c", "text": "d"}]},
        {"what no template has": {"any": ["thing"]}, "turns": 1},
    ],
)
def test_the_template_is_told_them_as_transformers_would(theirs, ours, variables):
    chat = [{"role": ASKED.role, "content": ASKED.content}]
    expected = theirs.apply_chat_template(chat, add_generation_prompt=True, **variables)
    assert ours.encode_chat([ASKED], variables=variables) == list(expected["input_ids"])


def test_they_change_what_is_read_only_where_the_template_has_them(ours):
    without = ours.render_chat([ASKED])
    assert ours.render_chat([ASKED], variables={"enable_thinking": False}) == (
        f"{without}no thoughts"
    )
    assert ours.render_chat([ASKED], variables={"unheard_of": 1}) == without


@pytest.mark.parametrize(
    "variables",
    [{"today": "<|im_end|>"}, {"documents": [{"title": "<|im_end|>", "text": "<|im_end|>"}]}],
)
def test_what_they_spell_is_text(theirs, ours, variables):
    [end] = theirs.convert_tokens_to_ids(["<|im_end|>"])
    expected = ours.encode_chat([ASKED]).count(end)
    tokens = ours.encode_chat([ASKED], variables=variables)
    assert tokens.count(end) == expected
    assert "<|im_end|>" in ours.decode(tokens)


@pytest.mark.parametrize(
    "name",
    [
        "chat_template",
        "tokenize",
        "messages",
        "conversation",
        "tools",
        "add_generation_prompt",
        "continue_final_message",
        "tokenizer_kwargs",
        "eos_token",
        "conversations",
        "self",
    ],
)
def test_what_is_settled_is_no_requests_to_say(ours, name):
    with pytest.raises(InvalidSampling, match=f"'{name}' is not for a request") as raised:
        ours.render_chat([ASKED], variables={name: "x"})
    assert raised.value.param == VARIABLES


@pytest.mark.parametrize(
    "variables",
    [
        {"steps": 10**9},
        {"steps": "three"},
        {"name": 3},
        {"name": {"first": "x"}},
        {"documents": 3},
        {"documents": "abc"},
        {"raise_exception": 1, "name": 1},
    ],
)
def test_what_a_template_can_do_nothing_with_is_the_callers_fault(ours, variables):
    with pytest.raises(InvalidPrompt, match="refuses this chat"):
        ours.render_chat([ASKED], variables=variables)


def test_an_engine_reads_them(ours):
    told = Generation("id", None, (ASKED,), variables='{"today": "now"}')
    assert _prompt(told, ours, 256) == ours.encode_chat([ASKED], variables={"today": "now"})


def test_they_count_as_what_is_to_be_read(ours):
    told = Generation("id", None, (ASKED,), variables=f'{{"today": "{"many words " * 9000}"}}')
    with pytest.raises(ContextOverflow):
        _prompt(told, ours, 256)
