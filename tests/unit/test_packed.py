"""The base as the kernels read it, kept in a file: exact, mapped, and never half there."""

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_base

from registry.leftovers import DRAFT
from specialists.engine.native import network, packed
from specialists.engine.native.compile import kernels
from specialists.engine.native.network import NativeNetwork
from specialists.engine.native.packed import ALIGNED, KEPT_SECONDS, Packed, packed_file


@pytest.fixture
def folder(tmp_path):
    return tiny_base(tmp_path / "base").folder


def opened(folder, bits=8):
    return NativeNetwork.from_folder(folder, kernels(), bits=bits, threads=1)._packed


def same(one, other):
    return (
        one.shape == other.shape
        and one.linears == other.linears
        and one.arrays.keys() == other.arrays.keys()
        and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    )


def refusing(*_):
    raise AssertionError("the weights are packed once more")


@pytest.mark.parametrize("bits", [8, 4])
def test_a_later_start_maps_what_the_first_one_wrote(folder, bits, monkeypatch):
    first = opened(folder, bits)
    monkeypatch.setattr(network, "_packed", refusing)
    second = opened(folder, bits)
    assert same(first, second)
    assert all(isinstance(array.base, np.memmap) for array in second.arrays.values())
    assert all(array.ctypes.data % ALIGNED == 0 for array in second.arrays.values())
    assert packed_file(folder, bits).parent == folder


def test_other_weights_another_config_or_other_bits_are_packed_anew(folder):
    files = {packed_file(folder, 8), packed_file(folder, 4)}
    for name in ("config.json", "model.safetensors"):
        os.utime(folder / name, ns=(1, 1))
        files.add(packed_file(folder, 8))
    assert len(files) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "head", "empty"])
def test_a_damaged_file_is_made_anew(folder, damage, caplog):
    first = opened(folder)
    file = packed_file(folder, 8)
    content = bytearray(file.read_bytes())
    content[-1 if damage == "flip" else 3] ^= 1
    kept = {"cut": len(content) // 2, "empty": 0}.get(damage, len(content))
    file.write_bytes(content[:kept])
    assert same(opened(folder), first)
    assert "made anew" in caplog.text
    assert same(Packed.read(file), first)


def test_a_folder_that_cannot_be_written_is_left_alone(folder, tmp_path, monkeypatch):
    real = os.access
    monkeypatch.setattr(packed.os, "access", lambda at, mode: at != folder and real(at, mode))
    monkeypatch.setattr(packed, "user_cache_path", lambda _: tmp_path / "cache")
    before = sorted(folder.iterdir())
    first = opened(folder)
    assert sorted(folder.iterdir()) == before
    assert same(Packed.read(packed_file(folder, 8)), first)
    (tmp_path / "full").write_text("a file, and no folder")
    monkeypatch.setattr(packed, "user_cache_path", lambda _: tmp_path / "full")
    assert same(opened(folder), first)


def test_what_nobody_used_for_long_is_removed(folder):
    old, used = folder / "kernels-old.packed", folder / "kernels-used.packed"
    for file, age in (old, KEPT_SECONDS + 60), (used, KEPT_SECONDS - 3600):
        file.write_bytes(b"")
        os.utime(file, (time.time() - age,) * 2)
    opened(folder)
    assert (old.exists(), used.exists()) == (False, True)


def test_what_a_killed_process_had_begun_to_write_is_removed(folder):
    left = folder / f"{DRAFT}x"
    left.write_bytes(b"half of it")
    os.utime(left, (0, 0))
    opened(folder)
    assert not left.exists()
    assert packed_file(folder, 8).exists()


@given(st.lists(st.integers(0, 200), max_size=5), st.integers(0, 10**6))
def test_what_is_written_is_read(tmp_path_factory, sizes, number):
    file = tmp_path_factory.mktemp("packed") / "file"
    arrays = {f"a{at}": np.arange(size, dtype=np.float32) for at, size in enumerate(sizes)}
    made = Packed({"layers": number}, arrays, {"a0": (1, 2, 4)})
    made.write(file)
    assert same(Packed.read(file), made)
    assert [each.name for each in file.parent.iterdir()] == ["file"]
