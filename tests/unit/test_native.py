"""The compiled kernels against torch, on the weights that their blocks stand for."""

import os
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np
import pytest
import torch
from engines import SMALL, make_adapter, make_adapters
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import tiny_base
from transformers import AutoConfig

from registry.files import AdapterFiles
from registry.safetensors_header import read_header
from specialists.engine.batch import Copied, Segments
from specialists.engine.batching import by_adapter
from specialists.engine.core import Row, Run, SamplingParams, wanted
from specialists.engine.llama import Llama
from specialists.engine.lora import GroupLora, Layout, Pair, read_pairs
from specialists.engine.native import compile as compiling
from specialists.engine.native import library
from specialists.engine.native.adapter import NativeAdapter, Plan
from specialists.engine.native.checkpoint import Checkpoint
from specialists.engine.native.network import NativeNetwork
from specialists.engine.native.packing import Blocks
from specialists.engine.networks import kernels, open_network
from specialists.engine.pages import PAGE_TOKENS, KVCache, pages_needed
from specialists.engine.slots import SlotPool
from specialists.engine.torch_network import TorchNetwork
from specialists.errors import BaseUnavailable, NoKernels

CPU = torch.device("cpu")
PAGES = 512
CLOSE, EQUAL = 0.1, 1e-3
"""Shares of the logits' norm: what a number that is rounded the other way may change, and what the
rows keep within where none is, which are a quarter at least."""
ADAPTERS = {
    "all-r8": {},
    "attention-r3": {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    "mlp-r16": {"r": 16, "lora_alpha": 8, "target_modules": ["gate_proj", "down_proj"]},
    "mixed": {"r": 1, "rank_pattern": {"k_proj": 17, "up_proj": 2}, "use_rslora": True},
    "r256": {"r": 256, "lora_alpha": 16, "target_modules": ["o_proj", "up_proj"]},
    "last-layer": {"r": 5, "layers_to_transform": [1]},
}


@pytest.fixture(scope="module", params=[8, 4], ids=["int8", "int4"])
def bits(request):
    return request.param


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"), context=2048)


def native(base, bits, threads=2):
    made = NativeNetwork.from_folder(base.folder, kernels(), bits=bits, threads=threads)
    made.allocate(PAGES)
    return made


def in_8_bits(x):
    """Inputs of 8 bits in blocks of 32, as the kernels have them."""
    blocks = x.unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    q = (blocks / scale.where(scale > 0, torch.ones_like(scale))).round()
    return (q * scale).flatten(-2)


def of_8_bits(by_rank):
    """The nearest multiples of one scale for each rank: whole numbers like `by_rank`, scales."""
    scale = by_rank.abs().amax(dim=1) / 127
    steps = scale.where(scale > 0, torch.ones_like(scale))
    return (by_rank / steps[:, None]).round(), scale


def halves_up(weight):
    """The nearest numbers in bfloat16; of two as near, the larger one in size."""
    return ((weight.view(torch.int32) + 0x8000) & -0x10000).view(torch.float32)


def tiled(runs):
    """Which of a step's tokens go through the matrix unit: those of prompts, where there is one."""
    unit = bool(library.load(kernels()).myriad_tiles())
    spans = [range(run.row.computed, run.row.computed + run.count) for run in runs]
    return torch.tensor(
        [
            unit and at < run.row.prompt_length
            for run, span in zip(runs, spans, strict=True)
            for at in span
        ]
    )


def in_bfloat16(queries, keys, values, attn_mask, enable_gqa=False):
    """Scaled dot product attention, of numbers that are rounded as for the matrix unit."""
    if enable_gqa:
        times = queries.shape[1] // keys.shape[1]
        keys, values = (each.repeat_interleave(times, 1) for each in (keys, values))
    queries = (queries * queries.shape[-1] ** -0.5).bfloat16().float()
    scores = queries @ halves_up(keys).transpose(-1, -2)
    shares = scores.masked_fill(~attn_mask, -torch.inf).softmax(-1)
    return shares.bfloat16().float() @ halves_up(values)


def add_in_bfloat16(group, x, y):
    """An adapter's share, with inputs and what they are shrunk to rounded for the matrix unit."""
    shrunk = x.bfloat16().float() @ group.shrink
    for part in group.expands:
        numbers, scales = of_8_bits(part.matrix)
        y[:, part.outputs] += (shrunk[:, part.ranks] * scales).bfloat16().float() @ numbers


add, add_all, attend = GroupLora.add, Segments.add, Copied.attend


class Halves(KVCache):
    """Keys and values in binary16."""

    def write(self, layer, places, keys, values):
        super().write(layer, places, keys.half().float(), values.half().float())


class Rounding(TorchNetwork):
    """Torch, with everything rounded where the kernels round it."""

    def allocate(self, pages):
        with mock.patch("specialists.engine.llama.KVCache", Halves):
            super().allocate(pages)

    def load_adapter(self, files):
        made = super().load_adapter(files)
        for group in (group for layer in made.layers for group in layer.values()):
            for by_rank in (group.shrink.t(), *(part.matrix for part in group.expands)):
                numbers, scales = of_8_bits(by_rank)
                by_rank.copy_(numbers * scales[:, None])
        return made

    def forward(self, runs, slots):
        prompts = tiled(runs)

        def rounded(x, weight, linear=torch.nn.functional.linear):
            y = linear(in_8_bits(x), weight)
            if weight is not self._llama.head:
                y[prompts] = linear(x[prompts].bfloat16().float(), halves_up(weight))
            return y

        def added(segments, layer, group, x, y):
            whole = y.clone()
            with mock.patch.object(GroupLora, "add", add_in_bfloat16):
                add_all(segments, layer, group, x, whole)
            with mock.patch.object(GroupLora, "add", lambda own, x, y: add(own, in_8_bits(x), y)):
                add_all(segments, layer, group, x, y)
            y[prompts] = whole[prompts]

        def attended(attention, *stored):
            out = attend(attention, *stored)
            with mock.patch("specialists.engine.batch.F.scaled_dot_product_attention", in_bfloat16):
                out[prompts] = attend(attention, *stored)[prompts]
            return out

        with (
            mock.patch("specialists.engine.llama.F.linear", rounded),
            mock.patch.object(Copied, "attend", attended),
            mock.patch.object(Segments, "add", added),
        ):
            return super().forward(runs, slots)


def reference(base, bits):
    """Torch, on the weights that the blocks stand for."""
    config = AutoConfig.from_pretrained(base.folder)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    checkpoint = Checkpoint(base.folder, heads, bits)
    weights = {}
    for name in checkpoint._weights:
        linear = "norm" not in name
        values = checkpoint.blocks(name).weight if linear else checkpoint.vector(name)
        weights[name] = torch.from_numpy(values)
    made = Rounding(Llama(config, weights, dtype=torch.float32, device=CPU))
    made.allocate(PAGES)
    return made


@pytest.fixture(scope="module")
def pair(base, bits):
    """Both networks, and slots with all adapters for each."""
    return native(base, bits), reference(base, bits)


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    return make_adapters(base, tmp_path_factory.mktemp("adapters"), ADAPTERS)


def slots_of(network, folders):
    pool = SlotPool(1 << 30)
    for name, folder in folders.items():
        files = AdapterFiles.in_folder(folder)
        nbytes = network.adapter_bytes(files)
        pool.reserve(name, nbytes)
        pool.fill(name, network.load_adapter(files))
        assert pool[name].nbytes == nbytes
    return pool


def row(tokens, first_page, adapter=None, generated=0):
    count = pages_needed(len(tokens))
    return Row(
        id="test",
        adapter=adapter,
        tokens=list(tokens),
        prompt_length=len(tokens) - generated,
        params=SamplingParams(),
        text=None,
        emit=None,
        random=Random(0),
        pages=list(range(first_page, first_page + count))[::-1],
    )


def compute(network, rows, pool, chunk=None):
    """Logits of the last tokens of the rows, in steps of at most `chunk` tokens of each."""
    for each in rows:
        each.computed = 0
    found = {}
    while runs := [
        Run(each, min(len(each.tokens) - each.computed, chunk or len(each.tokens)))
        for each in rows
        if each.computed < len(each.tokens)
    ]:
        network.clear([page for run in runs if not run.row.computed for page in run.row.pages])
        logits = network.forward(runs, pool)
        ends = [run.row for run in runs if run.samples]
        for run in runs:
            run.row.computed += run.count
        found |= {id(each): line for each, line in zip(ends, logits, strict=True)}
    return torch.stack([found[id(each)] for each in rows])


def rows_of(lengths, adapters=(None,), seed=0):
    """Rows of which every second one is a prompt, and of the others as much as can be generated."""
    random = Random(seed)
    made, page = [], 0
    for at, length in enumerate(lengths):
        tokens = [random.randrange(300) for _ in range(length)]
        adapter = adapters[at * len(adapters) // len(lengths)]
        made.append(row(tokens, page, adapter, generated=at % 2 * length * 2 // 3))
        page += pages_needed(length)
    return made


def assert_close(got, expected):
    assert got.isfinite().all()
    errors = (got - expected).norm(dim=1) / expected.norm(dim=1)
    assert errors.max() < CLOSE, errors
    assert len(errors) < 8 or errors.quantile(0.25) < EQUAL, errors


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 23, 32, 33, 64])
def test_any_number_of_rows_gives_what_torch_gives(pair, count):
    ours, theirs = pair
    rows = rows_of([3 + at % 20 for at in range(count)])
    assert_close(compute(ours, rows, SlotPool(1)), compute(theirs, rows, SlotPool(1)))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 33, 63, 65, 127, 200, 517])
def test_any_length_gives_what_torch_gives(pair, length):
    ours, theirs = pair
    rows = rows_of([length])
    assert_close(compute(ours, rows, SlotPool(1)), compute(theirs, rows, SlotPool(1)))


@pytest.mark.parametrize("name", ADAPTERS)
def test_any_adapter_gives_what_torch_gives(pair, folders, name):
    ours, theirs = pair
    only = {name: folders[name]}
    rows = rows_of([5, 1, 40, 7, 2], (name,))
    got = compute(ours, rows, slots_of(ours, only))
    assert_close(got, compute(theirs, rows, slots_of(theirs, only)))
    bare = compute(ours, rows_of([5, 1, 40, 7, 2]), SlotPool(1))
    assert (got - bare).norm() > 0.2 * bare.norm()


def test_a_mixed_batch_gives_each_row_what_it_gets_alone(pair, folders):
    """To the last bit: no result depends on who else is there."""
    ours, theirs = pair
    adapters = (None, *ADAPTERS)
    rows = rows_of([1 + 7 * at % 41 for at in range(4 * len(adapters))], adapters)
    pool = slots_of(ours, folders)
    mixed = compute(ours, rows, pool)
    assert_close(mixed, compute(theirs, rows, slots_of(theirs, folders)))
    alone = torch.cat([compute(ours, [each], pool) for each in rows])
    assert torch.equal(mixed, alone)


@pytest.mark.parametrize("chunk", [1, 5, 16, 30])
def test_a_prompt_in_pieces_is_the_same_prompt(pair, folders, chunk):
    ours, _ = pair
    rows = rows_of([37, 20, 3, 51], ("all-r8", None))[::-1]
    pool = slots_of(ours, folders)
    assert torch.equal(compute(ours, rows, pool, chunk), compute(ours, rows, pool))


@pytest.mark.parametrize("adapter", [None, "all-r8"])
def test_guessed_tokens_come_out_as_one_after_the_other(pair, folders, adapter):
    """To the last bit, and beside others; what was guessed wrong leaves no trace."""
    ours, _ = pair
    pool = slots_of(ours, folders)
    tokens = rows_of([9])[0].tokens
    drafted, plain = (row([*tokens, 7], first, adapter, generated=4) for first in (0, 1))
    other = row([5, 6, 7], 2, "mixed", generated=2)
    for each in (drafted, plain, other):
        compute(ours, [each], pool)
        each.computed = len(each.tokens) - 1
    ours.forward([Run(drafted, 1, (1, 2, 3))], pool)
    runs = by_adapter([Run(drafted, 1, (8, 9, 4)), Run(other, 1)])
    own = [runs[at].row is drafted for at, _ in wanted(runs)]
    for line in ours.forward(runs, pool)[own]:
        assert torch.equal(ours.forward([Run(plain, 1)], pool)[0], line)
        plain.computed += 1
        plain.tokens.append([8, 9, 4, 0][plain.computed - 10])


@pytest.mark.parametrize("adapter", [None, "all-r8"])
def test_after_each_token_of_a_prompt_there_is_what_torch_gives(pair, folders, adapter):
    """Beside rows that generate, and from wherever the last step has come to."""
    scoring = SamplingParams(logprobs=0, prompt_logprobs=0)
    found = []
    for network in pair:
        pool = slots_of(network, folders)
        asked = replace(row(rows_of([40])[0].tokens, 0, adapter), params=scoring)
        other = row([5, 6, 7], 3, "mixed", generated=2)
        compute(network, [other], pool)
        other.computed, lines = 2, []
        while asked.computed < 40:
            runs = by_adapter([Run(other, 1), Run(asked, min(17, 40 - asked.computed))])
            logits = network.forward(runs, pool)
            own = [runs[at].row is asked for at, _ in wanted(runs)]
            # What is chosen by comes first, and belongs to the last token.
            ends = sum(run.samples for run in runs if run.row is asked)
            mine = logits[own]
            lines += [*mine[ends:], *mine[:ends]]
            asked.computed += next(run.count for run in runs if run.row is asked)
            asked.scored = asked.computed + 1
        found.append(torch.stack(lines))
    assert found[0].shape == (40, pair[0].vocabulary)
    # One by one: what is rounded otherwise after one token, those after it go by as well.
    for got, expected in zip(*found, strict=True):
        assert_close(got[None], expected[None])


def test_the_number_of_threads_changes_nothing(base, bits, folders):
    rows = rows_of([1, 9, 300, 2], (None, "all-r8"))
    answers = []
    for threads in (1, 2, 3, 8):
        made = native(base, bits, threads)
        answers.append(compute(made, rows, slots_of(made, folders)))
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_where_members_wait_for_their_cores_fewer_work_and_nothing_changes(base, bits, folders):
    rows = rows_of([1, 9, 300, 2], (None, "all-r8"))
    crowd = native(base, bits, 8 * len(os.sched_getaffinity(0)))
    pool = slots_of(crowd, folders)
    answers = [compute(crowd, rows, pool) for _ in range(40)]
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def threads():
    return {int(each.name) for each in Path("/proc/self/task").iterdir()}


@pytest.mark.parametrize("more", [0, 1])
def test_threads_keep_to_processors_of_their_own_where_there_is_one_for_each(base, bits, more):
    ours, before = os.sched_getaffinity(0), threads()
    made = native(base, bits, len(ours) + more)
    compute(made, rows_of([5]), SlotPool(1))
    assert os.sched_getaffinity(0) == ours
    places = [os.sched_getaffinity(each) for each in threads() - before]
    if more:
        assert all(each == ours for each in places)
    else:
        assert sorted(map(len, places)) == [1] * (len(ours) - 1)
        assert len(set().union(*places)) == len(places)


def test_what_another_row_left_in_a_page_is_not_read(pair):
    ours, _ = pair
    clean = compute(ours, rows_of([21]), SlotPool(1))
    for tensor in ours._cache:
        tensor.fill_(float("nan"))
    assert torch.equal(compute(ours, rows_of([21]), SlotPool(1)), clean)


def test_numbers_without_end_stay_in_their_row(base, bits, folders, tmp_path):
    ours = native(base, bits)
    pool = slots_of(ours, {"wild": folders["all-r8"]})
    pool["wild"].scales.fill_(float("inf"))
    rows = rows_of([4, 4], (None, "wild"))
    logits = compute(ours, rows, pool)
    assert torch.equal(logits[:1], compute(ours, rows[:1], pool))
    assert not logits[1].isfinite().all()


SHAPES = {
    "untied head": {"tie_word_embeddings": False},
    "wide heads": {"head_dim": 24},
    "one key head": {"num_key_value_heads": 1},
    "as many key heads": {"num_key_value_heads": 4},
    "vocabulary of odd size": {"vocab_size": 321},
    "rope linear": {
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
    },
    "rope yarn": {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "rope_theta": 10_000.0,
        }
    },
    "wider": {"hidden_size": 96, "intermediate_size": 224, "head_dim": 32},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bases_of_other_shapes_give_what_torch_gives(tmp_path, bits, shape):
    made = tiny_base(tmp_path / "base", **SHAPES[shape])
    folder = {"a": make_adapter(made, tmp_path / "a", seed=3)}
    ours, theirs = native(made, bits), reference(made, bits)
    rows = rows_of([1, 17, 90, 5], (None, "a"))
    got = compute(ours, rows, slots_of(ours, folder))
    assert_close(got, compute(theirs, rows, slots_of(theirs, folder)))


def test_a_shape_that_the_kernels_do_not_compute_is_left_to_torch(tmp_path):
    made = tiny_base(tmp_path / "base", intermediate_size=60)
    assert isinstance(open_network(made.folder, "auto", CPU, 1), TorchNetwork)
    with pytest.raises(BaseUnavailable, match="60"):
        open_network(made.folder, "int8", CPU, 1)


def test_who_waits_for_the_compiler_is_told_so_and_nobody_else(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(compiling, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(compiling, "_compile", lambda _, target: target.touch())
    (tmp_path / "kernels").mkdir()
    for _ in range(2):
        compiling.kernels(lambda: told.append("compiling"))
    assert told == ["compiling"]


def test_a_machine_without_a_compiler_is_served_by_torch(base, monkeypatch):
    monkeypatch.setattr("specialists.engine.native.compile.COMPILERS", ())
    with pytest.raises(NoKernels, match="there is none of"):
        kernels()
    assert isinstance(open_network(base.folder, "auto", CPU, 1), TorchNetwork)
    with pytest.raises(BaseUnavailable, match="int4"):
        open_network(base.folder, "int4", CPU, 1)


@pytest.mark.parametrize(
    ("machine", "features", "why"),
    [
        ("x86_64", "sse4_2 avx", "no avx2, fma, f16c"),
        ("aarch64", "fp asimd fphp", "no asimddp"),
        ("riscv64", "", "none for riscv64"),
    ],
)
def test_other_processors_are_served_by_torch(base, monkeypatch, machine, features, why):
    monkeypatch.setattr(compiling, "machine", lambda: machine)
    monkeypatch.setattr(compiling, "processor", lambda: features)
    with pytest.raises(NoKernels, match=why):
        kernels()
    assert isinstance(open_network(base.folder, "auto", CPU, 1), TorchNetwork)


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx2\n", "Features\t: fpu avx2\n"])
def test_a_processor_is_known_by_what_linux_says(monkeypatch, tmp_path, line):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\nprocessor\t: 1\n")
    monkeypatch.setattr(compiling, "CPU_INFO", file)
    assert compiling.processor.__wrapped__().split() == ["fpu", "avx2"]
    file.unlink()
    assert compiling.processor.__wrapped__() == ""


MODULES = {"self_attn.q_proj": 64, "self_attn.k_proj": 32, "self_attn.v_proj": 32}
"""Of one group, each with its outputs."""


def saved(file, pairs, more=b""):
    """The pairs in a file, whose header is longer by some more spaces, and where they lie there."""
    halves = {
        f"{name}.{half}": getattr(pair, half) for name, pair in pairs.items() for half in "ab"
    }
    save_file(halves, file)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length] + more
    file.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    found = read_header(file.read_bytes())
    stored = {
        name: Pair(found[f"{name}.a"], found[f"{name}.b"], pair.scale)
        for name, pair in pairs.items()
    }
    return Layout(({}, stored))


def packed_pairs(tmp_path, pairs, more=b""):
    widths = MODULES | {"self_attn.o_proj": 64, "mlp.gate_proj": 8, "mlp.up_proj": 8}
    widths["mlp.down_proj"] = 64
    plan = Plan.of(saved(tmp_path / "pairs", pairs, more), widths)
    return NativeAdapter.read(tmp_path / "pairs", plan, library.load(kernels()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 3, 8, 13, 64])
def test_an_adapter_is_packed_to_the_nearest_multiples(tmp_path, rank, dtype):
    torch.manual_seed(rank)
    pairs = {
        name: Pair(torch.randn(rank + at, 96).to(dtype), torch.randn(outs, rank + at).to(dtype), s)
        for at, (s, (name, outs)) in enumerate(zip((2.0, 0.3, 1.0), MODULES.items(), strict=True))
    }
    pairs["self_attn.v_proj"].a[0] = 0
    made = packed_pairs(tmp_path, pairs)
    shrinks = [of_8_bits(pair.a.float()) for pair in pairs.values()]
    expands = [of_8_bits(pair.b.float().t() * pair.scale) for pair in pairs.values()]
    filled = [torch.nn.functional.pad(b, (0, 0, 0, -len(b) % 4)) for b, _ in expands]
    # [stripes, words, outputs, ranks]: the first, the third, the second, the fourth; without a sign
    striped = [b.reshape(len(b) // 4, 2, 2, -1, 8).permute(3, 0, 4, 2, 1) + 128 for b in filled]
    wanted = torch.cat([part.flatten() for part in [*(a for a, _ in shrinks), *striped]])
    assert torch.equal(made.matrices.view(torch.uint8), wanted.to(torch.int32).to(torch.uint8))
    scales = [a * b for (_, a), (_, b) in zip(shrinks, expands, strict=True)]
    assert torch.equal(made.scales, torch.cat(scales))


@pytest.mark.parametrize("which", ["a", "b"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_so(tmp_path, which, value):
    pair = Pair(torch.ones(3, 32), torch.ones(64, 3), 1.0)
    getattr(pair, which)[1, 1] = value
    assert not packed_pairs(tmp_path, {"self_attn.q_proj": pair}).scales[1].isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_do_not_lie_at_multiples_of_their_size_are_read(tmp_path, dtype):
    torch.manual_seed(0)
    a, b = torch.randn(5, 32).to(dtype), torch.randn(64, 5).to(dtype)
    pairs = {"self_attn.q_proj": Pair(a, b, 2.0)}
    [_, layer] = read_pairs(tmp_path / "pairs", saved(tmp_path / "pairs", pairs, b" "))
    assert torch.equal(layer["self_attn.q_proj"].a, a)
    assert torch.equal(layer["self_attn.q_proj"].b, b)
    plain, moved = packed_pairs(tmp_path, pairs), packed_pairs(tmp_path, pairs, b" ")
    assert torch.equal(moved.matrices, plain.matrices)
    assert torch.equal(moved.scales, plain.scales)


def test_adapters_that_were_trained_alike_share_all_but_their_numbers(base, bits, tmp_path):
    network = native(base, bits)
    files = [
        AdapterFiles.in_folder(make_adapter(base, tmp_path / str(seed), seed=seed, r=rank))
        for seed, rank in enumerate((4, 4, 5))
    ]
    first, second, other = map(network.load_adapter, files)
    assert first.plan is second.plan is not other.plan
    assert not torch.equal(first.matrices, second.matrices)


WEIGHTS = st.tuples(
    st.integers(1, 20), st.integers(1, 4), st.sampled_from([1e-3, 0.1, 5.0]), st.integers(0, 99)
)


@settings(max_examples=40)
@given(made=WEIGHTS, bits=st.sampled_from([4, 8]))
def test_blocks_are_within_half_a_step_of_the_weights(made, bits):
    outs, blocks, scale, seed = made
    weight = np.random.default_rng(seed).normal(0, scale, (outs, 32 * blocks)).astype(np.float32)
    found = Blocks.quantised(weight, bits)
    parts = weight.reshape(outs, blocks, 32)
    step = (parts.max(2) - parts.min(2)) / (2**bits - 1)
    # Scale and minimum are in binary16, whose relative precision is 2^-11.
    slack = np.abs(parts).max(2) * 2**-10 + 2**bits * 2**-24
    errors = np.abs(found.weight.reshape(parts.shape) - parts).max(2)
    assert (errors <= step / 2 + slack).all()


@settings(max_examples=40)
@given(
    ranks=st.integers(1, 5),
    count=st.integers(1, 40),
    scale=st.sampled_from([0.0, 1e-30, 1e-3, 1e4]),
    seed=st.integers(0, 99),
)
def test_an_adapters_numbers_are_within_half_a_step(ranks, count, scale, seed):
    by_rank = torch.randn(ranks, count, generator=torch.Generator().manual_seed(seed)) * scale
    numbers, scales = of_8_bits(by_rank)
    errors = (numbers * scales[:, None] - by_rank).abs().amax(1)
    assert (errors <= by_rank.abs().amax(1) / 127 * 0.501).all()


def test_the_engine_takes_the_kernels_unless_it_is_told_otherwise(base):
    assert isinstance(open_network(base.folder, "auto", CPU, 1), NativeNetwork)
    assert isinstance(open_network(base.folder, SMALL.weights, CPU, 1), TorchNetwork)
    assert PAGE_TOKENS == 16  # as attention.h has it
