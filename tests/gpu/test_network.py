"""The network on a GPU against the reference: the same logits, the same tokens, row by row."""

from random import Random

import pytest
import test_engine_oracle
import torch
from engines import engine, make_adapters, run, sequence
from safetensors.torch import load_file, save_file
from tiny import tiny_base

from registry.files import AdapterFiles
from specialists.engine.core import Row, Run, SamplingParams
from specialists.engine.engine import EngineOptions
from specialists.engine.networks import open_network
from specialists.engine.slots import SlotPool
from specialists.engine.torch_network import TorchNetwork

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda")
MORE_THAN_A_TILE = {"r": 40, "lora_alpha": 8, "target_modules": ["gate_proj", "down_proj"]}
ADAPTERS = test_engine_oracle.ADAPTERS | {"mlp-r40": MORE_THAN_A_TILE}
NAMES = [None, *ADAPTERS]
PROMPTS = ["hello", "How much of a raise should I ask for?", "The quick brown fox " * 6, "x"]
BASES = {
    "small": {},
    "of long sums": {"intermediate_size": 2560},
    "of odd groups": {"hidden_size": 48, "num_attention_heads": 6, "head_dim": 24},
}


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), **BASES[request.param])


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    made = make_adapters(base, tmp_path_factory.mktemp("adapters"), ADAPTERS)
    for folder in made.values():
        # As adapters mostly are: what is rounded when they are loaded is not what is looked for.
        file = folder / "adapter_model.safetensors"
        save_file({name: each.bfloat16() for name, each in load_file(file).items()}, file)
    return made


def on(device, **options):
    settings = {"weights": "float32", "kv_bytes": 1 << 22, "slot_bytes": 1 << 24}
    return EngineOptions(device=device, **(settings | options))


def answers(base, adapters, options):
    made = engine(base, adapters, options)
    chats = [made.tokenizer.encode(text) for text in PROMPTS]
    rows = [
        sequence(made, chats[at % len(chats)], NAMES[at % len(NAMES)], max_tokens=24)[0]
        for at in range(20)
    ]
    run(made)
    made.close()
    return made, [row.tokens for row in rows]


@pytest.mark.parametrize(
    "options",
    [{}, {"max_rows": 3}, {"step_tokens": 7}, {"kv_bytes": 1 << 18}, {"slot_bytes": 1 << 17}],
    ids=["one batch", "few rows", "chunked prompts", "pages run out", "slots run out"],
)
def test_a_mixed_batch_gives_what_the_reference_gives(base, adapters, options):
    from specialists.engine.gpu.network import GpuNetwork

    made, given = answers(base, adapters, on("cuda", **options))
    assert isinstance(made._network, GpuNetwork)
    assert given == answers(base, adapters, on("cpu"))[1]


@pytest.mark.parametrize("rows", [1, 2, 3, 17, 32])
def test_logits_are_those_of_the_reference(base, adapters, rows):
    exact = steps(reference(base, torch.float32), adapters, rows)
    fast = steps(open_network(base.folder, "float32", GPU, None), adapters, rows)
    assert all(error < 2e-5 for error in errors(fast, exact))


def test_bfloat16_is_as_near_as_it_is_in_torch(base, adapters):
    exact = steps(reference(base, torch.float32), adapters, 32)
    theirs = steps(reference(base, torch.bfloat16), adapters, 32)
    ours = steps(open_network(base.folder, "bfloat16", GPU, None), adapters, 32)
    assert sum(errors(ours, exact)) < 1.5 * sum(errors(theirs, exact))


def reference(base, dtype):
    return TorchNetwork.from_folder(base.folder, dtype=dtype, device=GPU)


def errors(found, exact):
    pairs = zip(found, exact, strict=True)
    return [float((ours - theirs).norm() / theirs.norm()) for ours, theirs in pairs]


def steps(network, adapters, count):
    """Logits of a step that reads prompts, of one that does both, and of two that are replayed."""
    network.allocate(256)
    slots = SlotPool(1 << 26)
    for name, folder in adapters.items():
        files = AdapterFiles.in_folder(folder)
        slots.reserve(name, network.adapter_bytes(files), ())
        slots.fill(name, network.load_adapter(files))
    rows = [row(number) for number in range(count)]
    rows.sort(key=lambda each: each.adapter or "")
    found = []
    for late in (1, 0, 0, 0):
        runs = [Run(each, len(each.tokens) - each.computed) for each in rows[: count - late or 1]]
        found.append(network.forward(runs, slots).clone())
        for each in runs:
            each.row.computed = len(each.row.tokens)
            each.row.tokens.append(7)
    return found


def row(number):
    tokens = [3 + (7 * number + 5 * at) % 200 for at in range(1 + 9 * (number % 5))]
    name = NAMES[number % len(NAMES)]
    made = Row(str(number), name, tokens, len(tokens), SamplingParams(), None, None, Random(0))
    made.pages = list(range(4 * number, 4 * number + 4))
    return made


def test_an_adapter_takes_what_was_said(base, adapters):
    network = open_network(base.folder, "bfloat16", GPU, None)
    for folder in adapters.values():
        files = AdapterFiles.in_folder(folder)
        assert network.load_adapter(files).nbytes == network.adapter_bytes(files)


def test_the_recorded_steps_waste_little():
    from specialists.engine.gpu.network import sizes

    assert sizes(1) == [1]
    assert sizes(32) == [1, 2, 4, 8, 16, 24, 32]
    assert sizes(40) == [1, 2, 4, 8, 16, 24, 32, 40]
    assert sizes(256)[-4:] == [96, 128, 192, 256]
