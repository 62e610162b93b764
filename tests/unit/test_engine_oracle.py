"""The engine against PEFT and transformers: the same tokens, row by row."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from engines import SMALL, Turn, engine, make_adapters, run, sequence
from peft import PeftModel
from tiny import tiny_base
from transformers import AutoModelForCausalLM

from specialists.engine.engine import EngineOptions

ADAPTERS = {
    "all-r8": {},
    "attention-r3": {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    "mlp-r16": {"r": 16, "lora_alpha": 8, "target_modules": ["gate_proj", "down_proj"]},
    "rslora-r5": {"r": 5, "use_rslora": True, "lora_alpha": 4},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 6, "mlp.up_proj": 3}},
    "last-layer": {"layers_to_transform": [1]},
}
PROMPTS = [
    "hello",
    "How much of a raise should I ask for?",
    "The quick brown fox " * 6,
    "good morning",
    "Ask for a concrete number, and good evening!",
    "x",
    "over the lazy dog",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), ADAPTERS)


@pytest.fixture(scope="module")
def expected(base, adapters):
    """PEFT's greedy tokens, one adapter and one prompt at a time."""

    @cache
    def network_with(adapter):
        network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
        return network if adapter is None else PeftModel.from_pretrained(network, adapters[adapter])

    def answer(adapter, prompt, count=16):
        network = network_with(adapter)
        tokens = torch.tensor([prompt])
        out = network.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=count,
            do_sample=False,
        )
        return out[0].tolist()

    return answer


def rows_of(made):
    names = [None, *ADAPTERS]
    chats = [made.tokenizer.encode_chat([Turn("user", text)]) for text in PROMPTS]
    return [sequence(made, chat, names[at % len(names)])[0] for at, chat in enumerate(chats)]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(SMALL, id="one batch"),
        pytest.param(EngineOptions(weights="float32", kv_bytes=1 << 20, max_rows=2), id="two rows"),
        pytest.param(
            EngineOptions(weights="float32", kv_bytes=1 << 20, step_tokens=7), id="chunked prompts"
        ),
        pytest.param(EngineOptions(weights="float32", kv_bytes=1 << 17), id="pages run out"),
        pytest.param(
            EngineOptions(weights="float32", kv_bytes=1 << 20, slot_bytes=40_000),
            id="slots run out",
        ),
    ],
)
def test_a_mixed_batch_gives_what_peft_gives_one_at_a_time(base, adapters, expected, options):
    made = engine(base, adapters, options)
    rows = rows_of(made)
    run(made)
    for row in rows:
        assert row.generated
        assert row.tokens == expected(row.adapter, row.tokens[: row.prompt_length])
    made.close()


def test_every_adapter_changes_the_answer(expected):
    # Otherwise the test above would pass with adapters that are ignored.
    prompt = list(range(20, 40))
    answers = {tuple(expected(name, prompt)) for name in [None, *ADAPTERS]}
    assert len(answers) == len(ADAPTERS) + 1


def test_rows_that_join_late_do_not_disturb_the_others(base, adapters, expected):
    made = engine(base, adapters)
    prompts = [made.tokenizer.encode(text) for text in PROMPTS]
    rows = []
    for name, prompt in zip(ADAPTERS, prompts, strict=False):
        rows.append(sequence(made, prompt, name, max_tokens=12)[0])
        for _ in range(3):
            made.step()
            made.check_integrity()
    run(made)
    for row in rows:
        assert row.tokens == expected(row.adapter, row.tokens[: row.prompt_length], 12)
    made.close()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="whole prompts"),
        pytest.param({"step_tokens": 7}, id="chunked prompts"),
        pytest.param({"kv_bytes": 1 << 17}, id="pages run out"),
    ],
)
def test_how_likely_a_prompt_was_is_what_peft_says(base, adapters, expected, options):
    made = engine(base, adapters, replace(SMALL, **options))
    names = [None, *ADAPTERS] * 2
    rows = []
    for at, (text, name) in enumerate(zip([*PROMPTS, *PROMPTS[2:]], names, strict=False)):
        # Every third asks for nothing of the kind; the last ones have prompts that are known.
        asked = {"logprobs": 2, "prompt_logprobs": 2} if at % 3 else {}
        chat = made.tokenizer.encode_chat([Turn("user", text)])
        rows.append((*sequence(made, chat, name, **asked), bool(asked)))
    run(made)
    for row, emissions, wanted in rows:
        assert row.tokens == expected(row.adapter, row.tokens[: row.prompt_length])
        told = [emission for emission in emissions if emission.of_prompt]
        assert emissions[: len(told)] == told
        assert [each.choice.token for each in told] == (
            row.tokens[1 : row.prompt_length] if wanted else []
        )
        if wanted:
            exact = scores(base, adapters, row.adapter, row.tokens[: row.prompt_length])
            for place, (emission, line) in enumerate(zip(told, exact, strict=False), start=1):
                top = line.topk(2)
                own = line[row.tokens[place]].item()
                assert emission.choice.logprob == pytest.approx(own, abs=1e-3)
                assert [each.logprob for each in emission.choice.top] == pytest.approx(
                    top.values.tolist(), abs=1e-3
                )
    made.close()


def test_of_a_prompt_that_is_computed_again_it_is_told_once(base, adapters):
    made = engine(base, adapters, replace(SMALL, step_tokens=40))
    prompt = [20 + at % 50 for at in range(100)]
    row, emissions = sequence(made, prompt, logprobs=0, prompt_logprobs=0)
    made.step()
    made.step()
    made._scheduler._step_back(row)
    run(made)
    told = [emission.choice for emission in emissions if emission.of_prompt]
    assert [choice.token for choice in told] == prompt[1:]
    exact = scores(base, adapters, None, prompt)
    assert [choice.logprob for choice in told] == pytest.approx(
        [line[token].item() for line, token in zip(exact, prompt[1:], strict=False)], abs=1e-3
    )
    made.close()


def scores(base, adapters, adapter, tokens):
    """Log probabilities of what comes after each token, [tokens, vocabulary], by PEFT."""
    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    if adapter is not None:
        network = PeftModel.from_pretrained(network, adapters[adapter])
    with torch.no_grad():
        return network(torch.tensor([tokens])).logits[0].log_softmax(-1)


def test_logprobs_are_those_of_transformers(base, adapters):
    made = engine(base, adapters)
    prompt = made.tokenizer.encode("How much of a raise")
    row, emissions = sequence(made, prompt, max_tokens=3, logprobs=4)
    run(made)
    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    with torch.no_grad():
        logprobs = network(torch.tensor([row.tokens])).logits[0].log_softmax(-1)
    for place, emission in enumerate(emissions, len(prompt) - 1):
        top = logprobs[place].topk(4)
        assert [each.token for each in emission.choice.top] == top.indices.tolist()
        assert [each.logprob for each in emission.choice.top] == pytest.approx(
            top.values.tolist(), abs=1e-4
        )
        assert emission.choice.logprob == pytest.approx(
            float(logprobs[place, emission.choice.token]), abs=1e-4
        )
    made.close()
