"""What every backend must do: ours, and vLLM's where `make vllm` has installed it."""

import asyncio
import json
import os
import re
import signal
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from engines import make_adapters
from patience import comes
from peft import PeftModel
from tiny import tiny_base
from transformers import AutoModelForCausalLM

from registry.files import AdapterFiles
from specialists.engine.backend import Request
from specialists.engine.core import FinishReason, SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.report import mark
from specialists.engine.runner import Runner
from specialists.engine.thoughts import Thoughts
from specialists.engine.vllm.runner import VllmOptions, VllmRunner
from specialists.errors import (
    AdapterUnavailable,
    ContextOverflow,
    EngineStopped,
    InvalidPrompt,
    InvalidSampling,
    NoVllm,
    Overloaded,
)

PYTHON = Path(__file__).resolve().parents[2] / ".venv-vllm" / "bin" / "python"
WITH_VLLM = pytest.mark.skipif(not PYTHON.exists(), reason="`make vllm` installs vLLM")
KINDS = ["builtin", pytest.param("vllm", marks=WITH_VLLM)]
ADAPTERS = {
    "all": {"r": 8},
    "attention": {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 5, "use_rslora": True, "lora_alpha": 4},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 6, "mlp.up_proj": 3}},
    "last": {"layers_to_transform": [1]},
}
HUGE = {"huge": {"r": 16}}
"""Of a larger rank than vLLM is told that there will be."""
DIGESTS = {name: f"sha256:{at:016x}{0:048x}" for at, name in enumerate([*ADAPTERS, *HUGE], start=1)}
SLOTS = 150_000
"""Bytes: of two or three of these adapters."""
ROWS, WAITING = 8, 64
LIMITS = {"max_rows": ROWS, "kv_bytes": 1 << 22, "slot_bytes": SLOTS}
ENDLESS = ((2, -100.0),)
"""Without the token that ends an answer."""
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"n": {"enum": [1, 22]}},
        "required": ["n"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    # vLLM's attention on CPUs takes no heads smaller than 32.
    return tiny_base(tmp_path_factory.mktemp("base"), hidden_size=128)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), ADAPTERS | HUGE)


@pytest.fixture(scope="module", params=KINDS)
def opened(request, base, adapters):
    """Makes a backend of each kind."""

    def locate(digest):
        return AdapterFiles.in_folder(folders[digest])

    folders = {DIGESTS[name]: folder for name, folder in adapters.items()}

    if request.param == "builtin":
        options = EngineOptions(weights="float32", **LIMITS)
        return partial(Runner.from_folder, base.folder, locate, options, max_waiting=WAITING)
    options = VllmOptions(str(PYTHON), dtype="float32", max_rank=8, **LIMITS)
    return partial(VllmRunner, base.folder, locate, options, max_waiting=WAITING)


@pytest.fixture(scope="module")
def backend(opened):
    made = opened()
    yield made
    made.close()


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def networks(base, adapters):
    @cache
    def network(name):
        bare = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
        return bare if name is None else PeftModel.from_pretrained(bare, adapters[name])

    return network


def asked(prompt=(5, 6, 7), adapter=None, n=1, grammar=None, tenant=None, whole=False, **params):
    settings = SamplingParams(**({"max_tokens": 12, "temperature": 0.0} | params))
    digest = adapter and DIGESTS.get(adapter, adapter)
    return Request("test", digest, list(prompt), n, settings, grammar, whole, tenant)


async def answered(backend, request):
    """The emissions of each row."""
    rows = {}
    async for emissions in backend.generate(request):
        for row, emission in emissions:
            rows.setdefault(row, []).append(emission)
    return rows


def tokens(emissions):
    return [emission.choice.token for emission in emissions]


def said(emissions):
    return "".join(emission.text for emission in emissions)


def greedily(network, request):
    """Greedy tokens of shaped logits, one by one, as `SamplingParams` says."""
    params, answer = request.params, []
    for _ in range(params.max_tokens):
        with torch.no_grad():
            logits = network(torch.tensor([request.prompt + answer])).logits[0, -1]
        for token, bias in params.logit_bias:
            logits[token] += bias
        for token in {*request.prompt, *answer}:
            factor = params.repetition_penalty
            logits[token] *= factor if logits[token] < 0 else 1 / factor
        for token in set(answer):
            times = answer.count(token)
            logits[token] -= params.presence_penalty + params.frequency_penalty * times
        answer.append(logits.argmax().item())
    return answer


def test_each_row_of_a_mixed_batch_says_what_peft_says(backend, loop, networks):
    texts = ["hello", "How much of a raise should I ask for?", "good morning", "over the lazy dog"]
    prompts = [backend.tokenizer.encode(text) for text in texts]
    wanted = [(name, prompt) for name in (None, *ADAPTERS) for prompt in prompts]

    async def all_at_once(pairs):
        return await asyncio.gather(
            *(answered(backend, asked(prompt, name)) for name, prompt in pairs)
        )

    # No more at once than there are places.
    found = [
        answer
        for at in range(0, len(wanted), 8)
        for answer in loop.run(all_at_once(wanted[at : at + 8]))
    ]
    for (name, prompt), rows in zip(wanted, found, strict=True):
        expected = networks(name).generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
        )
        assert prompt + tokens(rows[0]) == expected[0].tolist()


def test_adapters_stay_within_their_bytes(backend, loop):
    for name in ADAPTERS:
        loop.run(answered(backend, asked(adapter=name)))
    stats = backend.stats()
    assert 0 < stats["adapter_bytes"] <= SLOTS
    assert stats["adapters_resident"] < len(ADAPTERS)
    assert stats["adapter_evictions_total"] > 0
    assert mark(DIGESTS["last"]) in backend.report().marks


def test_what_may_be_wanted_soon_is_loaded(backend, loop):
    async def hint():
        loads = backend.stats()["adapter_loads_total"]
        assert mark(DIGESTS["all"]) not in backend.report().marks
        backend.prefetch(DIGESTS["all"], evicts=True)
        await comes(lambda: mark(DIGESTS["all"]) in backend.report().marks)
        await answered(backend, asked(adapter="all"))
        assert backend.stats()["adapter_loads_total"] == loads + 1

    loop.run(hint())


def test_rows_differ_and_a_seed_repeats_them(backend, loop):
    wanted = asked(n=3, temperature=1.5, seed=11)
    first, second = (loop.run(answered(backend, wanted)) for _ in range(2))
    assert {row: tokens(each) for row, each in first.items()} == {
        row: tokens(each) for row, each in second.items()
    }
    assert len({tuple(tokens(each)) for each in first.values()}) == 3


def test_what_is_wanted_whole_comes_at_once(backend, loop):
    async def lists(request):
        return [emissions async for emissions in backend.generate(request)]

    assert len(loop.run(lists(asked(n=2, whole=True)))) == 1


def test_an_answer_ends_by_its_length(backend, loop):
    (row,) = loop.run(answered(backend, asked(max_tokens=5))).values()
    assert len(row) == 5
    assert row[-1].finish is FinishReason.LENGTH


def test_an_answer_ends_before_a_stop_text(backend, loop):
    (free,) = loop.run(answered(backend, asked())).values()
    stop = said(free)[3:5]
    (row,) = loop.run(answered(backend, asked(stop=(stop,)))).values()
    assert said(row) == said(free)[: said(free).index(stop)]
    assert row[-1].finish is FinishReason.STOP


@pytest.mark.parametrize("adapter", [None, "all"])
def test_it_is_told_how_likely_a_prompt_was_or_refused(backend, loop, networks, adapter):
    prompt = [7 + at % 90 for at in range(100)]
    request = asked(prompt, adapter, max_tokens=2, logprobs=2, prompt_logprobs=2)
    if isinstance(backend, VllmRunner):
        with pytest.raises(InvalidSampling, match="how likely prompts are"):
            loop.run(answered(backend, request))
        return
    # The second time all of it is known.
    for emissions in (loop.run(answered(backend, request))[0] for _ in range(2)):
        told = [emission.choice for emission in emissions if emission.of_prompt]
        assert [choice.token for choice in told] == prompt[1:]
        assert len(emissions) == len(told) + 2
        with torch.no_grad():
            exact = networks(adapter)(torch.tensor([prompt])).logits[0].log_softmax(-1)
        for choice, line in zip(told, exact, strict=False):
            assert choice.logprob == pytest.approx(line[choice.token].item(), abs=1e-3)
            assert len(choice.top) == 2
            assert choice.top[0].logprob == pytest.approx(line.max().item(), abs=1e-3)


def test_logprobs_are_those_of_the_unscaled_logits(backend, loop, networks):
    wanted = asked(prompt=[5, 6, 7], max_tokens=1, temperature=1.7, seed=3, logprobs=3)
    (row,) = loop.run(answered(backend, wanted)).values()
    with torch.no_grad():
        exact = networks(None)(torch.tensor([[5, 6, 7]])).logits[0, -1].log_softmax(-1)
    (choice,) = (emission.choice for emission in row)
    assert choice.logprob == pytest.approx(exact[choice.token].item(), abs=1e-3)
    assert [each.token for each in choice.top] == exact.topk(3).indices.tolist()


def test_biases_and_penalties_are_applied(backend, loop, networks):
    shaped = asked(
        logit_bias=((9, 4.0), (10, 4.0), (2, -100.0)),
        presence_penalty=1.5,
        frequency_penalty=0.5,
        repetition_penalty=1.2,
    )
    (row,) = loop.run(answered(backend, shaped)).values()
    assert tokens(row) == greedily(networks(None), shaped)
    (free,) = loop.run(answered(backend, asked())).values()
    assert tokens(row) != tokens(free)


ENDING = ((2, 100.0),)
"""What ends an answer is the likeliest always."""


def test_an_answer_ends_no_sooner_than_it_may(backend, loop):
    (row,) = loop.run(answered(backend, asked(logit_bias=ENDING))).values()
    assert [len(row), row[-1].finish] == [1, FinishReason.STOP]
    (row,) = loop.run(answered(backend, asked(logit_bias=ENDING, min_tokens=5))).values()
    assert [len(row), row[-1].finish] == [6, FinishReason.STOP]
    (row,) = loop.run(answered(backend, asked(logit_bias=ENDING, min_tokens=500))).values()
    assert [len(row), row[-1].finish] == [12, FinishReason.LENGTH]


def test_an_answer_ends_with_a_token_that_the_request_names(backend, loop):
    (free,) = loop.run(answered(backend, asked(ignore_eos=True))).values()
    last = tokens(free)[4]
    wanted = asked(stop_token_ids=(7, last), ignore_eos=True)
    (row,) = loop.run(answered(backend, wanted)).values()
    assert tokens(row) == tokens(free)[: tokens(free).index(last) + 1]
    assert row[-1].finish is FinishReason.STOP
    assert said(row) == said(free[: len(row) - 1])


def test_where_ends_are_ignored_only_the_length_ends_an_answer(backend, loop):
    wanted = asked(logit_bias=ENDING, ignore_eos=True, logprobs=0)
    (row,) = loop.run(answered(backend, wanted)).values()
    assert tokens(row) == [2] * 12
    assert said(row) == ""
    assert row[-1].finish is FinishReason.LENGTH


def test_a_grammar_ends_an_answer_that_is_too_short(backend, loop):
    grammar = backend.grammars.of_lark('start: "dog" | "fox"', "tools")
    wanted = asked(grammar=grammar, min_tokens=10, ignore_eos=True)
    (row,) = loop.run(answered(backend, wanted)).values()
    assert said(row) in ("dog", "fox")
    # Here nothing must follow, and nothing may but its end.
    grammar = backend.grammars.of_lark('start: "dog" | "dog fox"', "tools")
    wanted = asked(grammar=grammar, min_tokens=12, logit_bias=ENDING)
    (row,) = loop.run(answered(backend, wanted)).values()
    assert said(row) in ("dog", "dog fox")
    assert row[-1].finish is FinishReason.STOP


def test_a_schema_is_held(backend, loop):
    grammar = backend.grammars.of_schema(SCHEMA)
    wanted = asked(grammar=grammar, n=2, temperature=1.3, seed=5, max_tokens=60)
    for row in loop.run(answered(backend, wanted)).values():
        assert json.loads(said(row))["n"] in (1, 22)
        assert row[-1].finish is FinishReason.STOP


def test_rules_are_held(backend, loop):
    grammar = backend.grammars.of_lark('start: "dog" | "fox"', "tools")
    (row,) = loop.run(answered(backend, asked(grammar=grammar))).values()
    assert said(row) in ("dog", "fox")


def test_a_grammar_lets_an_answer_be_thought_over(backend, loop):
    grammar = backend.grammars.of_lark('start: "dog" | "fox"', "tools", Thoughts(opened=False))
    likely = tuple((token, 50.0) for token in backend.tokenizer.encode("dog"))
    (row,) = loop.run(answered(backend, asked(grammar=grammar, logit_bias=likely))).values()
    assert said(row) == "dog"


def test_thoughts_end_when_their_budget_is_spent_or_that_is_refused(backend, loop):
    wanted = replace(asked(logit_bias=ENDLESS), thoughts=Thoughts(opened=True, most=3))
    if isinstance(backend, VllmRunner):
        with pytest.raises(InvalidSampling, match="does not bound thoughts"):
            loop.run(answered(backend, wanted))
    else:
        (row,) = loop.run(answered(backend, wanted)).values()
        closing = backend.tokenizer.encode_part("\n</think>")
        tokens = [emission.choice.token for emission in row]
        assert tokens[3 : 3 + len(closing)] == closing
        assert [emission.thinking for emission in row].index(False) == 2 + len(closing)


@pytest.mark.parametrize(
    ("language", "text", "wanted"),
    [
        ("regex", "[ab]{2}/[ab]", "[ab]{2}/[ab]"),
        ("choice", '["dog", "fox"]', "dog|fox"),
        ("grammar", 'start: "a" ("b" | "c")', "a[bc]"),
        ("grammar", 'root ::= "a" [bc]', "a[bc]"),
    ],
)
def test_other_forms_are_held(backend, loop, language, text, wanted):
    grammar = backend.grammars.of_rules(language, text, "structured_outputs")
    (row,) = loop.run(answered(backend, asked(grammar=grammar))).values()
    assert re.fullmatch(wanted, said(row))
    assert row[-1].finish is FinishReason.STOP


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (asked(prompt=[]), InvalidPrompt),
        (asked(prompt=[10**6]), InvalidPrompt),
        (asked(prompt=[5] * 300), ContextOverflow),
        (asked(logit_bias=((10**6, 1.0),)), InvalidSampling),
        (asked(stop_token_ids=(10**6,)), InvalidSampling),
        (asked(n=ROWS + WAITING + 1), Overloaded),
        (asked(adapter="sha256:" + "f" * 64), AdapterUnavailable),
    ],
    ids=[
        "empty",
        "unknown token",
        "too long",
        "unknown bias",
        "unknown end",
        "too many",
        "unknown adapter",
    ],
)
def test_what_cannot_be_answered_is_refused_and_the_next_is_not(backend, loop, request_, refusal):
    with pytest.raises(refusal):
        loop.run(answered(backend, request_))
    assert loop.run(answered(backend, asked()))
    assert backend.alive


@pytest.mark.parametrize("opened", KINDS[1:], indirect=True)
def test_an_adapter_that_vllm_does_not_take_costs_itself_only(backend, loop):
    async def beside_another():
        stream = backend.generate(asked(max_tokens=100, logit_bias=ENDLESS))
        first = await anext(stream)
        with pytest.raises(AdapterUnavailable, match="rank"):
            await answered(backend, asked(adapter="huge"))
        # All of it was in the first list where this loop had no turn for a while.
        lists = [first, *[emissions async for emissions in stream]]
        return lists[-1][-1][1]

    assert loop.run(beside_another()).finish is FinishReason.LENGTH
    assert backend.alive


def test_what_is_computed_of_a_prompt_is_its_tenants_and_its_adapters(backend, loop):
    prompt = [7 + at % 90 for at in range(200)]

    def cached(**who):
        (row,) = loop.run(answered(backend, asked(prompt, max_tokens=1, **who))).values()
        return row[0].cached

    assert cached(tenant="ada") == 0
    assert cached(tenant="ada") > 100
    assert cached(tenant="bob") == 0
    assert cached(tenant="ada", adapter="all") == 0
    assert cached(tenant="ada", adapter="all") > 100


def overtaken(backend, loop):
    """How many that nobody waits for, and came before, are over after somebody who waits."""
    over = []

    async def absent():
        request = asked(max_tokens=200, logit_bias=ENDLESS, tenant="batch")
        await answered(backend, replace(request, absent=True))
        over.append(request)

    async def come_last():
        async with asyncio.TaskGroup() as group:
            late = [group.create_task(absent()) for _ in range(WAITING)]
            await comes(lambda: backend.stats()["waiting"] > 0)
            await answered(backend, asked(tenant="somebody"))
            for each in late:
                each.cancel()

    loop.run(come_last())
    return WAITING - len(over)


def test_who_waits_comes_before_what_nobody_waits_for(backend, loop):
    # In the order of their coming only those of one step are over later; on a machine that is busy
    # most may be so before vLLM hears of who waits.
    assert any(overtaken(backend, loop) > ROWS for _ in range(20))


def test_who_leaves_frees_what_was_held(backend, loop):
    async def leave():
        stream = backend.generate(asked(n=4, adapter="all", max_tokens=200, logit_bias=ENDLESS))
        await anext(stream)
        await stream.aclose()
        await comes(lambda: not (backend.stats()["running"] or backend.stats()["waiting"]))
        # All places are free again: so many rows find theirs.
        await answered(backend, asked(n=ROWS + WAITING, max_tokens=1))

    loop.run(leave())


def test_who_does_not_read_holds_up_nobody_and_misses_nothing(backend, loop):
    async def beside_another():
        slow = backend.generate(asked(max_tokens=200, logit_bias=ENDLESS))
        read = await anext(slow)
        assert await answered(backend, asked(max_tokens=220, logit_bias=ENDLESS))
        rest = [emission async for emissions in slow for emission in emissions]
        return [emission for _, emission in [*read, *rest]]

    found = loop.run(beside_another())
    assert len(found) == 200
    assert found[-1].finish is FinishReason.LENGTH


def test_what_is_closed_ends_its_answers_and_takes_no_more(opened, loop):
    made = opened()

    async def close_while_answering():
        # So many that some are there still, however late this is.
        many = asked(n=ROWS + WAITING, max_tokens=240, logit_bias=ENDLESS)
        stream = made.generate(many)
        await anext(stream)
        await asyncio.to_thread(made.close)
        with pytest.raises(EngineStopped):
            async for _ in stream:
                pass

    loop.run(close_while_answering())
    assert not made.alive
    with pytest.raises(EngineStopped):
        made.require_room(1)


@WITH_VLLM
def test_a_vllm_that_is_killed_is_noticed(base, loop):
    options = VllmOptions(str(PYTHON), dtype="float32", max_rank=8, **LIMITS)
    made = VllmRunner(base.folder, {}.__getitem__, options, max_waiting=WAITING)

    async def kill_while_answering():
        stream = made.generate(asked(max_tokens=240, logit_bias=ENDLESS))
        await anext(stream)
        os.kill(made._process._process.pid, signal.SIGKILL)
        with pytest.raises(EngineStopped):
            async for _ in stream:
                pass

    links = Path(made._process.ready["folder"])
    assert links.is_dir()
    loop.run(kill_while_answering())
    assert not made.alive
    made.close()
    assert not links.exists()


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true"])
def test_an_interpreter_without_vllm_is_named(base, python):
    with pytest.raises(NoVllm, match=python):
        VllmRunner(base.folder, {}.__getitem__, VllmOptions(python), max_waiting=WAITING)
