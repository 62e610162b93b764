"""The demo specialists as they ship: whole, small, and acceptable to the registry."""

import json

import pytest

from deploy.demos import EXAMPLES, demo_folders, register_demos
from registry.base import BaseSpec
from registry.card import Card
from registry.registry import Registry

SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "num_hidden_layers": 30,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
}


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    spec = BaseSpec.from_folder(tmp_path, "SmolLM2-135M-Instruct")
    opened = Registry.open(tmp_path / "home", spec)
    yield opened
    opened.close()


def test_every_example_is_complete():
    names = {folder.parent.name for folder in demo_folders()}
    assert len(names) >= 5
    assert names == {file.parent.name for file in EXAMPLES.glob("*/train.jsonl")}


def test_they_register_once(registry, tmp_path):
    ids = sorted(f"demo/{folder.parent.name}" for folder in demo_folders())
    assert sorted(register_demos(registry, tmp_path)) == ids
    assert sorted(version.id for version in registry.live()) == ids
    assert register_demos(registry, tmp_path) == []


def test_a_retired_demo_stays_retired(registry, tmp_path):
    register_demos(registry, tmp_path)
    registry.retire("demo/city-desk")
    register_demos(registry, tmp_path)
    assert "demo/city-desk" not in {version.id for version in registry.live()}


@pytest.mark.parametrize("folder", demo_folders(), ids=lambda folder: folder.parent.name)
def test_held_out_rows_are_not_among_training_rows_or_examples(folder):
    card = Card.parse((folder / "card.yaml").read_bytes())
    train, heldout = (
        {json.loads(line)["messages"][0]["content"] for line in file.read_text().splitlines()}
        for file in (folder.parent / "train.jsonl", folder.parent / "heldout.jsonl")
    )
    assert not heldout & train
    assert not heldout & set(card.examples)
