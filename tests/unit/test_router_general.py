import os
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from hashed import HashedWords

from router.routing.general import follow_ups, general_requests
from router.routing.vectors import kept_vectors

ROOT = Path(__file__).resolve().parents[2]


def general_vectors(encoder, cache=None, texts=None):
    return kept_vectors(encoder, texts or general_requests(), cache, "general")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


def kept(cache: Path) -> Path:
    """The file of a cache that was filled, and nothing beside it."""
    general_vectors(HashedWords(), cache)
    [file] = cache.iterdir()
    return file


def test_the_requests_are_many_distinct_and_in_the_package():
    requests = general_requests()
    assert len(requests) == len(set(requests)) == 1000
    assert all(request == request.strip() != "" for request in requests)
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = packaged["tool"]["setuptools"]["package-data"]["*"]
    assert any(fnmatch("general.txt", pattern) for pattern in patterns)


def test_follow_ups_are_distinct_and_no_general_requests():
    found = follow_ups()
    assert len(found) == len(set(found)) > 100
    assert all(text == text.strip() != "" for text in found)


def test_without_a_cache_nothing_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = general_vectors(HashedWords())
    np.testing.assert_array_equal(vectors, HashedWords().encode(general_requests()))
    assert list(tmp_path.iterdir()) == []


def test_a_second_start_encodes_nothing(cache: Path):
    first = general_vectors(HashedWords(), cache)
    again = HashedWords()
    np.testing.assert_array_equal(general_vectors(again, cache), first)
    assert again.encoded == []
    assert kept(cache).suffix == ".npy"


def test_other_texts_and_other_encoders_have_files_of_their_own(cache: Path):
    general_vectors(HashedWords(), cache)
    general_vectors(HashedWords(64), cache)
    vectors = general_vectors(HashedWords(), cache, ["another text"] * 1000)
    np.testing.assert_array_equal(vectors[0], HashedWords().encode(["another text"])[0])
    assert len(list(cache.iterdir())) == 3


def saved(vectors: np.ndarray):
    return lambda file: np.save(file, vectors)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"PK\x03\x04"),
        lambda file: os.truncate(file, 5000),
        lambda file: file.write_bytes(file.read_bytes()[:200] + bytes(file.stat().st_size - 200)),
        saved(HashedWords().encode(["one"])),
        saved(HashedWords().encode(general_requests()).astype(np.float64)),
        saved(np.full((1000, 256), np.nan, np.float32)),
        saved(np.float32(1)),
    ],
)
def test_a_damaged_file_is_replaced(cache: Path, damage, caplog):
    file = kept(cache)
    damage(file)
    encoder = HashedWords()
    expected = HashedWords().encode(general_requests())
    np.testing.assert_array_equal(general_vectors(encoder, cache), expected)
    assert len(encoder.encoded) == 1000
    np.testing.assert_array_equal(np.load(file), expected)
    assert file.name in caplog.text


def test_a_cache_that_cannot_be_written_costs_only_the_encoding(tmp_path: Path, caplog):
    (tmp_path / "file").touch()
    vectors = general_vectors(HashedWords(), tmp_path / "file")
    assert vectors.shape == (1000, 256)
    assert "cannot be written" in caplog.text


def test_what_was_being_written_is_never_read(cache: Path, monkeypatch):
    def stop(part: Path, target: Path):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", stop)
    general_vectors(HashedWords(), cache)
    assert list(cache.iterdir()) == []
