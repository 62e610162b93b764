"""Calls of tools: the template's own format is learnt, held to, and read back."""

import json

import pytest
from engines import Turn, engine, run, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from thinking import with_template
from tiny import CHATML, tiny_base

from deploy.deltas import Deltas
from router.engine import Tool, ToolCall
from specialists.engine.calls import CallFormat, CallPiece, CallReader
from specialists.engine.chat_template import OWN_CALLS
from specialists.engine.core import Emission, FinishReason
from specialists.errors import InvalidPrompt, InvalidSampling

# As Qwen's and Hermes' templates write tools and calls.
TAGGED = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}\n{{ tool | tojson }}"
    "{% endfor %}\n</tools><|im_end|>\n{% endif %}{% for message in messages %}"
    "{{ '<|im_start|>' + (message.role if message.role != 'tool' else 'user') }}"
    "{% if message.role == 'tool' %}"
    "{{ '\n<tool_response>\n' + message.content + '\n</tool_response>' }}"
    "{% elif message.content %}{{ '\n' + message.content }}{% endif %}"
    "{% for call in message.tool_calls or [] %}{{ '\n<tool_call>\n' }}"
    """{{ '{"name": "' + call.function.name + '", "arguments": ' }}"""
    "{{ call.function.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Llama 3's: one call, which is the whole answer.
BARE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '<|endoftext|>\n\n' }}"
    "{% if loop.first and tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "{% endif %}{% if message.tool_calls %}{% if message.tool_calls | length != 1 %}"
    "{{ raise_exception('only single tool-calls at once') }}{% endif %}"
    "{% set call = message.tool_calls[0].function %}"
    """{{ '{"name": "' + call.name + '", "parameters": ' }}{{ call.arguments | tojson }}{{ '}' }}"""
    "{% else %}{{ message.content | trim }}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|endoftext|>\n\n' }}{% endif %}"
)
# As Mistral's: control tokens around the calls, which text cannot hold.
CONTROLLED = CHATML.replace(
    "message['content']",
    "(message['content'] if not message.tool_calls else '<|endoftext|>[' + message.tool_calls[0]"
    ".function | tojson + ']')",
)
FORMATS = {
    TAGGED: CallFormat(
        '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", separator="\n"
    ),
    BARE: CallFormat('{"name": "', '", "parameters": ', "}", separator=None),
    CHATML: OWN_CALLS,
    CONTROLLED: OWN_CALLS,
}
WEATHER = Tool(
    "weather",
    json.dumps(
        {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 5}},
            "required": ["city"],
            "additionalProperties": False,
        }
    ),
    "Tells the weather.",
)
DICE = Tool(
    "dice",
    json.dumps(
        {
            "type": "object",
            "properties": {"sides": {"enum": [6, 20]}},
            "required": ["sides"],
            "additionalProperties": False,
        }
    ),
)
CALLS = (ToolCall("weather", '{"city": "Rome"}'), ToolCall("dice", '{"sides": 6}'))


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def base(request, tmp_path_factory):
    return tiny_base(
        tmp_path_factory.mktemp("base"), context=1024, pieces=request.param == "pieces"
    )


@pytest.fixture(scope="module")
def made(base):
    made = engine(base, {})
    yield made
    made.close()


@pytest.mark.parametrize("template", FORMATS, ids=["tagged", "bare", "none", "controlled"])
def test_the_format_is_read_off_the_template(base, template):
    assert with_template(base.folder, template).calls == FORMATS[template]


@pytest.mark.parametrize("template", [TAGGED, BARE, CHATML], ids=["tagged", "bare", "none"])
def test_a_prompt_shows_tools_calls_and_results(base, template):
    tokenizer = with_template(base.folder, template)
    chat = [
        Turn("user", "hello"),
        Turn("assistant", "", CALLS[:1]),
        Turn("tool", "sunny <|im_end|>"),
    ]
    shown = tokenizer.decode(tokenizer.encode_chat(chat, tools=[WEATHER, DICE]))
    for part in ("Tells the weather.", '"sides"', tokenizer.calls.write(CALLS[:1]), "sunny"):
        assert part in shown
    # The result's is text: control tokens are not shown.
    assert "<|im_end|>" in shown
    assert tokenizer.calls.example not in tokenizer.render_chat(chat)


def test_own_instructions_follow_the_chats_own(base):
    tokenizer = with_template(base.folder, CHATML)
    rendered = tokenizer.render_chat([Turn("system", "Be brief."), Turn("user", "?")], tools=[DICE])
    assert rendered.startswith("<|im_start|>system\nBe brief.\n\n")
    assert rendered.count("<|im_start|>system") == 1
    assert OWN_CALLS.example in rendered


def test_results_side_by_side_are_one_turn(base):
    tokenizer = with_template(base.folder, CHATML)
    chat = [
        Turn("user", "?"),
        Turn("assistant", "So:", CALLS),
        Turn("tool", "a"),
        Turn("tool", "b"),
    ]
    assert tokenizer.render_chat(chat) == (
        "<|im_start|>user\n?<|im_end|>\n"
        f"<|im_start|>assistant\nSo:\n{OWN_CALLS.write(CALLS)}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\na\n</tool_response>\n"
        "<tool_response>\nb\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_a_template_refuses_is_the_callers_fault(base):
    tokenizer = with_template(base.folder, BARE)
    with pytest.raises(InvalidPrompt, match="only single tool-calls"):
        tokenizer.render_chat([Turn("user", "?"), Turn("assistant", "", CALLS)], tools=[DICE])


def test_a_template_that_cannot_do_without_tools_refuses_a_chat_without(base):
    tokenizer = with_template(base.folder, "{% for tool in tools %}{{ tool }}{% endfor %}")
    with pytest.raises(InvalidPrompt, match="not iterable"):
        tokenizer.render_chat([Turn("user", "?")])


def answer(made, form, count=1, tools=(WEATHER, DICE), temperature=1.0, **wanted):
    """Answers of a random base, held to calls, with what a reader makes of them."""
    wanted = {"required": True, "several": True, "schema": None} | wanted
    grammar = made.grammars.of_lark(form.grammar(tools, **wanted), "tools")
    rows = []
    for seed in range(count):
        params = {"max_tokens": 200, "temperature": temperature, "seed": seed}
        rows.append(sequence(made, [5, 6, 7], grammar=grammar.copy(), **params)[1])
    run(made)
    return [("".join(e.text for e in each), read(each, form), each[-1].finish) for each in rows]


def read(emissions: list[Emission], form: CallFormat):
    reader = CallReader(form)
    said, pieces = "", []
    for emission in emissions:
        text, more = reader.push(emission.text)
        said, pieces = said + text, pieces + list(more)
    return said + reader.end(complete=True), gathered(pieces)


def gathered(pieces: list[CallPiece]) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    for piece in pieces:
        if piece.name is not None:
            calls.append((piece.name, piece.arguments))
        else:
            name, arguments = calls[piece.index]
            calls[piece.index] = (name, arguments + piece.arguments)
    return calls


@pytest.mark.parametrize("form", [OWN_CALLS, FORMATS[BARE]], ids=["tagged", "bare"])
def test_a_required_call_is_one_whatever_the_weights(made, form):
    for text, (said, calls), finish in answer(made, form, count=6, several=False):
        assert finish is FinishReason.STOP
        assert said == ""
        [(name, arguments)] = calls
        assert text == form.write([ToolCall(name, arguments)])
        read = json.loads(arguments)
        assert list(read) == [{"weather": "city", "dice": "sides"}[name]]
        assert len(read["city"]) <= 5 if name == "weather" else read["sides"] in (6, 20)


def test_several_calls_only_where_several_are_wanted(made):
    counts = [len(calls) for _, (_, calls), _ in answer(made, OWN_CALLS, count=12, tools=(DICE,))]
    assert max(counts) > 1
    for several in (False, None):
        single = answer(made, OWN_CALLS, count=12, tools=(DICE,), several=several)
        assert {len(calls) for _, (_, calls), _ in single} == {1}


def test_only_the_named_one_can_be_called(made):
    texts = answer(made, FORMATS[BARE], count=6, tools=(DICE,))
    assert {name for _, (_, calls), _ in texts for name, _ in calls} == {"dice"}


def accepts(made, rules: str, text: str) -> bool:
    tokens = made.tokenizer.encode_part(text)
    if made.tokenizer.token_text(tokens[0])[0] == " ":
        # SentencePiece begins every text with a space of its own.
        tokens = tokens[1:]
    grammar = made.grammars.of_lark(rules, "tools")
    for token in [*tokens, next(iter(made.tokenizer.eos))]:
        if grammar.ended:
            return token in made.tokenizer.eos
        if not grammar.allowed()[token]:
            return False
        grammar.accept(token)
    return True


@pytest.mark.parametrize(
    ("form", "text", "taken"),
    [
        (OWN_CALLS, "It is sunny. {", True),
        (OWN_CALLS, "I look: <tool_call", True),
        (OWN_CALLS, "I look: <tool_call>", False),
        (OWN_CALLS, "I look:\n" + OWN_CALLS.write(CALLS[:1]), True),
        (OWN_CALLS, OWN_CALLS.write(CALLS), True),
        (OWN_CALLS, OWN_CALLS.write(CALLS) + " done", False),
        (OWN_CALLS, OWN_CALLS.write([ToolCall("other", "{}")]), False),
        (OWN_CALLS, OWN_CALLS.write([ToolCall("dice", '{"sides": 7}')]), False),
        (FORMATS[BARE], "It is sunny. {", True),
        (FORMATS[BARE], FORMATS[BARE].write(CALLS[:1]), True),
        (FORMATS[BARE], "{ no", False),
        (FORMATS[BARE], "Well: " + FORMATS[BARE].write(CALLS[:1]), True),
    ],
)
def test_where_calls_are_free_text_is_too(made, form, text, taken):
    rules = form.grammar((WEATHER, DICE), required=False, several=True, schema=None)
    assert accepts(made, rules, text) is taken


SUM = json.dumps({"type": "object", "properties": {"sum": {"type": "integer"}}})


def test_an_answer_that_is_no_call_satisfies_its_schema(made):
    rules = OWN_CALLS.grammar((DICE,), required=False, several=True, schema=SUM)
    assert accepts(made, rules, '{"sum": 3}')
    assert accepts(made, rules, OWN_CALLS.write(CALLS[1:]))
    assert not accepts(made, rules, "three")


def test_a_schema_that_calls_would_be_mistaken_for_is_refused():
    with pytest.raises(InvalidSampling, match="calls as JSON"):
        FORMATS[BARE].grammar((DICE,), required=False, several=True, schema=SUM)


def test_a_tools_schema_that_cannot_be_held_is_named(made):
    with pytest.raises(InvalidSampling) as refusal:
        made.grammars.check('{"type": "object", "properties": 3}', "tools[1].function.parameters")
    assert refusal.value.param == "tools[1].function.parameters"


TEXTS = st.lists(
    st.sampled_from(["<tool_call>", "<tool", "{", "}", '"', "\n", " ", "so", '{"name": "'])
    | st.text(max_size=3)
).map("".join)
ARGUMENTS = st.dictionaries(
    st.text(max_size=4) | st.sampled_from(["}", "</tool_call>", '{"name": "', '"']),
    st.recursive(st.text(max_size=6) | st.integers() | st.none(), st.lists, max_leaves=4),
    max_size=3,
).map(lambda arguments: json.dumps(arguments, ensure_ascii=False))
MADE = st.lists(st.tuples(st.sampled_from(["weather", "dice"]), ARGUMENTS), max_size=3)


@settings(max_examples=150)
@given(text=TEXTS, calls=MADE, data=st.data(), tagged=st.booleans())
def test_reading_is_the_same_however_an_answer_is_cut(text, calls, data, tagged):
    form = OWN_CALLS if tagged else FORMATS[BARE]
    if calls and not tagged:
        text, calls = "", calls[:1]
    if form.opening in text or (not tagged and text.startswith("{")):
        text = ""
    separator = "\n" if text and calls else ""
    answer = text + separator + form.write([ToolCall(*call) for call in calls])
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=8).map(sorted))
    parts = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    emissions = [Emission(None, part) for part in parts]
    said, read_back = read(emissions, form)
    assert read_back == calls
    assert said == (text.rstrip() if calls else text)


@settings(max_examples=150)
@given(calls=MADE.filter(bool), data=st.data(), tagged=st.booleans())
def test_an_answer_that_is_cut_off_shows_no_markup(calls, data, tagged):
    form = OWN_CALLS if tagged else FORMATS[BARE]
    whole = form.write([ToolCall(*call) for call in calls[: None if tagged else 1]])
    reader = CallReader(form)
    said, pieces = reader.push(whole[: data.draw(st.integers(0, len(whole)))])
    assert said + reader.end(complete=False) == ""
    for (name, arguments), (wanted, full) in zip(gathered(list(pieces)), calls, strict=False):
        assert name == wanted
        assert full.startswith(arguments)


def test_deltas_carry_calls_and_say_why_they_end(made):
    deltas = Deltas(made.tokenizer, OWN_CALLS, rows=2)
    whole = "So:\n" + OWN_CALLS.write(CALLS)
    [first] = deltas.of([(0, Emission(None, whole[:20]))])
    rest, other = deltas.of(
        [
            (0, Emission(None, whole[20:], FinishReason.STOP)),
            (1, Emission(None, OWN_CALLS.opening, FinishReason.LENGTH)),
        ]
    )
    assert (first.text, first.calls, first.finish_reason) == ("So:", (), None)
    assert rest.finish_reason == "tool_calls"
    assert gathered(list(rest.calls)) == [(call.name, call.arguments) for call in CALLS]
    assert (other.text, other.calls, other.finish_reason) == ("", (), "length")
