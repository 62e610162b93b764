import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from tiny_adapter import raw, tensors, weights

from registry.errors import InvalidAdapter
from registry.safetensors_header import read_header


def entry(start=0, end=8, dtype="F32", shape=(2,), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]} | more


def refusal(data):
    with pytest.raises(InvalidAdapter) as caught:
        read_header(data)
    assert caught.value.file == "adapter_model.safetensors"
    caught.value.message.encode()
    return caught.value


def test_agrees_with_the_library_about_a_good_file():
    arrays = tensors(("self_attn.q_proj", "mlp.up_proj"))
    data = safetensors.numpy.save(arrays, metadata={"format": "pt"})
    found = read_header(data)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    for name, tensor in found.items():
        assert data[tensor.start : tensor.end] == arrays[name].tobytes()


def test_the_library_reads_what_the_tests_write():
    arrays = tensors()
    read = safetensors.numpy.load(weights(arrays))
    assert all(np.array_equal(read[name], array) for name, array in arrays.items())


@given(st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 4), max_size=3), max_size=4))
def test_reads_any_well_formed_file(shapes):
    shapes.pop("__metadata__", None)
    data = safetensors.numpy.save({n: np.zeros(s, np.float32) for n, s in shapes.items()})
    assert {n: list(t.shape) for n, t in read_header(data).items()} == shapes


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_are_refused(junk):
    for data in (junk, raw(junk), raw(b"{" + junk), raw(b'{"a":' + junk + b"}", junk)):
        try:
            read_header(data)
        except InvalidAdapter as error:
            error.message.encode()


@given(st.data())
def test_a_good_file_with_one_byte_changed_is_read_alike_by_the_library_or_refused(draw):
    data = bytearray(weights())
    header_end = 8 + int.from_bytes(data[:8], "little")
    at = draw.draw(st.integers(0, header_end - 1))
    data[at] = draw.draw(st.integers(0, 255))
    try:
        found = read_header(bytes(data))
    except InvalidAdapter:
        return
    shapes = {name: array.shape for name, array in safetensors.numpy.load(bytes(data)).items()}
    assert {name: tensor.shape for name, tensor in found.items()} == shapes


def test_a_file_cut_short_anywhere_is_refused():
    data = weights()
    for length in range(len(data)):
        refusal(data[:length])


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_a_truncated_file_is_called_so(keep):
    assert "truncated" in refusal(weights()[:keep]).message


def zip_file():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "called"),
    [
        (zip_file(), "zip archive"),
        (pickle.dumps({"weights": [1.0] * 10}, protocol=2), "a pickle"),
        (pickle.dumps({"weights": [1.0] * 10}, protocol=5), "a pickle"),
        (b"\x1f\x8b" + b"\0" * 40, "a gzip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "not a safetensors file"),
        (struct.pack("<Q", 9 * 2**20) + b"{" + b" " * 9 * 2**20, "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
    ],
)
def test_other_files_are_called_by_their_name(data, called):
    assert called in refusal(data).message


@pytest.mark.parametrize("length", [0x0280, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_or_a_zip_is_read(length):
    assert read_header(raw(b"{}".ljust(length))) == {}


@pytest.mark.parametrize(
    "header",
    [
        b"{" + b"[" * 100,
        b'{"a": ' * 3000 + b"1" + b"}" * 3000,
        b"{\xff}",
        b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 8]}}',
        b'{"__metadata__": {"a": 1}}',
        b'{"__metadata__": ["a"]}',
        b"[]",
        b"{} {}",
    ],
)
def test_a_header_that_is_not_plain_json_is_refused(header):
    refusal(raw(header, bytes(8)))


def test_a_key_given_twice_is_refused():
    text = json.dumps(entry())
    assert "twice" in refusal(raw(f'{{"a":{text},"a":{text}}}'.encode(), bytes(8))).message
    twice = b'{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}'
    assert "twice" in refusal(raw(twice, bytes(8))).message


@pytest.mark.parametrize(
    "bad",
    [
        entry(dtype="F64", shape=[1]),
        entry(dtype="I8", shape=[8]),
        entry(dtype=["F32"]),
        entry(shape=[3]),
        entry(shape=[-2]),
        entry(shape=[True, 2]),
        entry(shape=[2.0]),
        entry(shape=["2"]),
        entry(shape=[1] * 8 + [2]),
        entry(shape=[2**62, 2**62, 0], end=0),
        entry(shape=[2**32, 2**32]),
        entry(start=-8, end=0),
        entry(start=8, end=0),
        entry(extra=1),
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0]},
        {"dtype": "F32", "shape": [2], "data_offsets": {"0": 8}},
        {"dtype": "F32", "shape": None, "data_offsets": [0, 8]},
        "F32",
        None,
    ],
)
def test_a_bad_entry_is_refused_by_its_tensors_name(bad):
    assert refusal(raw(json.dumps({"t": bad}).encode(), bytes(8))).tensor == "t"


@pytest.mark.parametrize(
    ("entries", "size", "reason"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "overlaps"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, "overlaps"),
        ({"a": entry(0, 8), "b": entry(12, 20)}, 20, "4 unused bytes"),
        ({"a": entry(4, 12)}, 12, "4 unused bytes"),
        ({"a": entry(0, 8)}, 9, "1 unused bytes follow"),
        ({}, 1, "1 unused bytes follow"),
        ({"a": entry(0, 8)}, 7, "truncated"),
    ],
)
def test_tensors_cover_the_data_exactly_once(entries, size, reason):
    assert reason in refusal(raw(json.dumps(entries).encode(), bytes(size))).message


def test_a_hostile_name_is_shown_short_and_printable():
    bad = json.dumps({"\ud800\n" + "x" * 10_000: None}).encode()
    error = refusal(raw(bad))
    assert len(error.message) < 500
    assert error.message.isprintable()


@pytest.mark.parametrize("half", ["\\ud800", "\\uDC00", "\\udbff\\u0041"])
def test_half_of_a_surrogate_pair_is_refused_as_the_library_refuses_it(half):
    text = b'{"__metadata__": {"x": "' + half.encode() + b'"}}'
    with pytest.raises(InvalidAdapter, match="surrogate"):
        read_header(len(text).to_bytes(8, "little") + text)
    whole = text.replace(half.encode(), b"\\ud83d\\ude00")
    assert read_header(len(whole).to_bytes(8, "little") + whole) == {}
