"""The encoder in compiled kernels against transformers."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from router.routing.encoder_network import TorchEncoder
from specialists.engine.native.bert import PART, NativeBert, parts
from specialists.engine.networks import kernels
from specialists.errors import NoKernels

CLOSE = 0.02
"""Share of a hidden state's norm that rounding to 8 bits may change."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99, hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=160, max_position_embeddings=300,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)
    for weight in model.parameters():
        weight.data += torch.randn_like(weight) * 0.1
    config.save_pretrained(made)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, made / "model.safetensors"
    )
    return made


def texts(*lengths: int) -> list[list[int]]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 99, length).tolist() for length in lengths]


LENGTHS = (1, 2, 3, 5, 9, 40, 256)


@pytest.mark.parametrize("layers", [(0,), (3,), (0, 2, 3), (1, 1)])
@pytest.mark.parametrize("threads", [1, 2])
def test_means_are_those_of_transformers(folder, layers, threads):
    native = NativeBert.from_folder(folder, kernels(), threads)
    expected = TorchEncoder(folder, None)
    found, wanted = (each.means(texts(*LENGTHS), layers) for each in (native, expected))
    assert (native.layers, native.dimensions) == (expected.layers, expected.dimensions)
    assert found.shape == wanted.shape == (len(LENGTHS), len(layers), 96)
    off = np.linalg.norm(found - wanted, axis=2) / np.linalg.norm(wanted, axis=2)
    assert off.max() < CLOSE


def test_a_texts_means_do_not_depend_on_its_company(folder):
    native = NativeBert.from_folder(folder, kernels(), 1)
    together = native.means(texts(*LENGTHS), (0, 3))
    for number, text in enumerate(texts(*LENGTHS)):
        np.testing.assert_allclose(native.means([text], (0, 3))[0], together[number], atol=1e-5)
    assert native.means([], (0, 3)).shape == (0, 2, 96)


@given(st.lists(st.integers(1, PART)))
def test_parts_are_all_texts_and_none_too_long(lengths):
    each = [lengths[some] for some in parts(lengths)]
    assert [length for some in each for length in some] == lengths
    assert all(some and sum(some) <= PART for some in each)
    # None could have had the next one's first text.
    assert all(sum(some) + after[0] > PART for some, after in pairwise(each))


def test_many_long_texts_leave_no_more_memory_in_use_than_a_few(folder):
    native = NativeBert.from_folder(folder, kernels(), 1)
    native.means(texts(*[PART] * 2), (3,))
    before = psutil.Process().memory_info().rss
    native.means(texts(*[PART] * 200), (3,))
    assert psutil.Process().memory_info().rss - before < 8 * 2**20


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 40},
        {"intermediate_size": 100},
        {"num_attention_heads": 24},
        {"hidden_act": "relu"},
    ],
)
def test_other_shapes_are_refused(change):
    config = {"hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 4}
    config |= {"hidden_act": "gelu"} | change
    with pytest.raises(NoKernels):
        NativeBert(kernels(), SimpleNamespace(**config), {}, 1)


def adapter(folder, to, **more):
    """A random one for the encoder in a folder."""
    linears = r"encoder\..*\.(query|key|value|dense)"
    config = LoraConfig(r=4, lora_alpha=12, target_modules=linears, init_lora_weights=False, **more)
    torch.manual_seed(1)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    get_peft_model(model, config).save_pretrained(to)


@pytest.mark.parametrize(
    "more", [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"query": 2}}]
)
def test_an_adapter_of_another_kind_is_not_taken_for_a_plain_one(folder, tmp_path, more):
    adapter(folder, tmp_path, **more)
    with pytest.raises(NoKernels, match=f"no plain LoRA: {next(iter(more))}"):
        NativeBert.from_folder(folder, kernels(), 1, tmp_path)


def test_an_adapter_is_merged_as_peft_merges_it(folder, tmp_path):
    adapter(folder, tmp_path)
    native = NativeBert.from_folder(folder, kernels(), 1, tmp_path)
    found, wanted, plain = (
        each.means(texts(*LENGTHS), (3,))
        for each in (native, TorchEncoder(folder, None, tmp_path), TorchEncoder(folder, None))
    )
    size = np.linalg.norm(wanted, axis=2)
    assert (np.linalg.norm(found - wanted, axis=2) / size).max() < CLOSE
    assert (np.linalg.norm(plain - wanted, axis=2) / size).min() > 4 * CLOSE
