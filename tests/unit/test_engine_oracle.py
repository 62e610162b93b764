"""The engine against PEFT and transformers: the same tokens, row by row."""

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
