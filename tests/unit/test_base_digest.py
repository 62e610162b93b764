"""A base is its config and its weights, whatever its folder is called."""

import dataclasses
import json

import pytest
from tiny_adapter import BASE, card, config, weights

from registry import base_digest as module
from registry.base import BaseSpec
from registry.base_digest import base_digest
from registry.errors import BaseChanged
from registry.registry import Registry


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": 8, "_name_or_path": "a"}))
    (folder / "model.safetensors").write_bytes(b"one")
    return folder


def test_other_weights_and_another_config_are_another_base(folder):
    found = {base_digest(folder)}
    (folder / "model.safetensors").write_bytes(b"two")
    found.add(base_digest(folder))
    (folder / "config.json").write_text('{"hidden_size": 16}')
    found.add(base_digest(folder))
    (folder / "model-2.safetensors").write_bytes(b"more")
    found.add(base_digest(folder))
    assert len(found) == 4


def test_who_wrote_the_config_does_not_matter(folder, tmp_path):
    before = base_digest(folder)
    moved = folder.rename(tmp_path / "moved")
    fields = {"_name_or_path": "b", "transformers_version": "9", "hidden_size": 8}
    (moved / "config.json").write_text(json.dumps(fields))
    assert base_digest(moved) == before


def test_weights_are_read_once_until_they_change(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "digests.json"
    first = base_digest(folder, cache)
    read = []
    hashed = module.digest_file
    monkeypatch.setattr(module, "digest_file", lambda file: read.append(file) or hashed(file))
    assert base_digest(folder, cache) == first
    assert read == []
    (folder / "model.safetensors").write_bytes(b"others")
    assert base_digest(folder, cache) != first
    assert len(read) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff"])
def test_a_damaged_memory_costs_reading_the_weights(folder, tmp_path, content):
    cache = tmp_path / "digests.json"
    cache.write_bytes(content)
    assert base_digest(folder, cache) == base_digest(folder)


def test_other_weights_behind_an_old_name_are_refused_at_start(tmp_path):
    registry = Registry.open(tmp_path, BASE)
    registry.register(card(), config(), weights())
    registry.close()
    other = dataclasses.replace(BASE, digest="sha256:" + "8" * 64)
    with pytest.raises(BaseChanged, match="Put the former weights back"):
        Registry.open(tmp_path, other)
    Registry.open(tmp_path, dataclasses.replace(other, name="new")).close()
    again = Registry.open(tmp_path, BASE)
    assert len(again.live()) == 1
    again.close()


def test_a_folder_gives_its_digest_with_its_shape(tmp_path):
    from tiny import tiny_base

    base = tiny_base(tmp_path / "tiny")
    assert BaseSpec.from_folder(base.folder, "x").digest == base_digest(base.folder)
