"""Weights in llama.cpp's formats: kept as they are where the kernels can, in more bits else."""

import gguf
import numpy as np
import pytest
from gguf_files import write_gguf
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_base

from specialists.base import prepare_base
from specialists.engine.native.checkpoint import READERS, Checkpoint
from specialists.engine.native.packing import Blocks
from specialists.gguf_file import GGUFFile
from specialists.progress import silent

HEADS = {"q_proj": 4, "k_proj": 2}
QUERIES, KEYS, VALUES = (f"model.layers.0.self_attn.{each}_proj.weight" for each in "qkv")
HALF = 2**-11
"""How far binary16 rounds, of the number."""


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_are_kept_exactly(kind):
    weight = np.random.default_rng(0).normal(0, 0.2, (24, 96)).astype(np.float32)
    bits, read = READERS[kind]
    raw = gguf.quants.quantize(weight, gguf.GGMLQuantizationType[kind])
    expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])
    np.testing.assert_allclose(read(raw).weight, expected, rtol=1e-6, atol=1e-7)
    assert read(raw).bits == bits


@given(seed=st.integers(0, 1000), outs=st.integers(1, 3), blocks=st.integers(1, 3))
def test_blocks_of_blocks_are_kept_but_for_the_rounding_of_their_scales(seed, outs, blocks):
    drawn = np.random.default_rng(seed)
    raw = drawn.integers(0, 256, (outs, blocks, 144), np.uint8)
    scales = drawn.uniform(0.001, 0.1, (outs, blocks, 2)).astype(np.float16)
    raw[..., :4] = scales.view(np.uint8)
    raw = raw.reshape(outs, -1)
    expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.Q4_K)
    found = Blocks.of_q4_k(raw)
    assert found.bits == 4
    assert (found.q <= 15).all()
    # What a block's largest and smallest number can be, 15 scales and a minimum, is rounded.
    most = 15 * found.d.astype(np.float32) + abs(found.m.astype(np.float32))
    errors = abs(found.weight - expected).reshape(found.q.shape).max(2)
    assert (errors <= most * HALF * 1.01).all()


@pytest.mark.parametrize(
    ("kinds", "asked", "held"),
    [
        ({"attn_": "Q4_1"}, 4, 4),
        ({"attn_": "Q4_0"}, 4, 4),
        ({"attn_": "Q4_1"}, 8, 8),
        ({"attn_v": "Q8_0", "attn_": "Q4_1"}, 4, 8),
        ({"attn_v": "Q5_1", "attn_": "Q4_1"}, 4, 8),
        ({"attn_": "Q5_0"}, 4, 8),
        ({"attn_": "F16"}, 4, 8),
    ],
)
def test_what_a_file_has_in_more_bits_keeps_more(tmp_path, kinds, asked, held):
    """Queries, keys and values are one linear, and transformers' order of them is another."""
    file = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "base"), kinds=kinds)
    folder = prepare_base(str(file), tmp_path, silent).folder
    checkpoint = Checkpoint(folder, HEADS, asked)
    found = checkpoint.blocks(QUERIES, KEYS, VALUES)
    assert found.bits == held
    unpacked = np.concatenate([checkpoint.vector(name) for name in (QUERIES, KEYS, VALUES)])
    # The folder's weights are rounded to bfloat16; 8 bits are half a step of 255 off.
    spread = np.ptp(unpacked.reshape(len(unpacked), -1, 32), axis=2).max()
    assert abs(found.weight - unpacked).max() <= abs(unpacked).max() * 2**-9 + spread / 500


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_what_a_file_has_is_not_quantised_once_more(tmp_path, kind):
    file = write_gguf(tmp_path / "fox.gguf", tiny_base(tmp_path / "base"), kinds={"attn_v": kind})
    folder = prepare_base(str(file), tmp_path, silent).folder
    raw = GGUFFile(file).tensor("blk.0.attn_v.weight")
    expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])
    found = Checkpoint(folder, HEADS, 4).blocks(VALUES).weight
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_without_a_file_weights_have_as_many_bits_as_are_asked_for(tmp_path):
    folder = tiny_base(tmp_path / "base").folder
    for bits in (4, 8):
        assert Checkpoint(folder, HEADS, bits).blocks(QUERIES, KEYS, VALUES).bits == bits
