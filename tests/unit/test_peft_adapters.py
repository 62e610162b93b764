"""What PEFT writes is accepted as it stands, and what is rebuilt means the same to PEFT."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from adapters import save
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_adapter import BASE
from transformers import LlamaConfig, LlamaForCausalLM

from registry.adapter import Limits, validate
from registry.base import BaseSpec
from registry.errors import InvalidAdapter

# PEFT still asks transformers for a property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
        )
    )


def train(llama, folder, **fields):
    """An adapter of random weights, saved the way PEFT saves; returns its logits."""
    torch.manual_seed(1)
    config = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4} | fields)
    model = get_peft_model(copy.deepcopy(llama), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return logits(model)


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(10).unsqueeze(0)).logits


def load(folder):
    return (
        (folder / "adapter_config.json").read_bytes(),
        (folder / "adapter_model.safetensors").read_bytes(),
    )


SAVED = sorted((Path(__file__).parents[1] / "adapters").glob("peft-*/*"))


@pytest.mark.parametrize("folder", SAVED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_older_releases_have_saved_means_what_it_meant_to_them(folder, tmp_path):
    adapter = validate(*load(folder), BASE, Limits())
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter.config))
    (tmp_path / "adapter_model.safetensors").write_bytes(load(folder)[1])
    expected = torch.tensor(json.loads((folder.parents[1] / f"{folder.name}.json").read_text()))
    bare = save.base()
    assert not torch.allclose(save.said(bare), expected, atol=1e-2)
    network = PeftModel.from_pretrained(bare, tmp_path)
    torch.testing.assert_close(save.said(network), expected, atol=1e-4, rtol=1e-4)


def test_the_tiny_base_has_the_shapes_of_the_real_thing(llama, tmp_path):
    llama.config.save_pretrained(tmp_path)
    found = BaseSpec.from_folder(tmp_path, "tiny")
    assert dataclasses.replace(found, digest=BASE.digest) == BASE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"target_modules": ["q_proj", "v_proj", "down_proj"], "lora_dropout": 0.1},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.layers\.1\..*(q|up)_proj"},
        {"target_modules": ["o_proj"], "use_rslora": True, "lora_alpha": 3},
        {
            "target_modules": ["q_proj", "k_proj"],
            "rank_pattern": {"q_proj": 2, "layers.1.self_attn.k_proj": 7},
            "alpha_pattern": {"k_proj": 5},
        },
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"layers_to_transform": 0},
        {"target_modules": "all-linear", "exclude_modules": ["q_proj"]},
        {"target_modules": "all-linear", "exclude_modules": r".*mlp.*"},
        {
            "target_modules": ["q_proj", "up_proj"],
            "rank_pattern": {r"layers\.[01]\..*q_proj": 2, r"^model\.layers\.1\.mlp\.\w+": 3},
            "alpha_pattern": {r"(q|k)_proj": 5, ".*": 9},
        },
        {"init_lora_weights": "orthogonal", "task_type": None},
    ],
    ids=[
        "default",
        "list",
        "all-linear",
        "regex",
        "rslora",
        "patterns",
        "layers",
        "one layer",
        "excluded",
        "excluded by regex",
        "regex patterns",
        "no task",
    ],
)
def test_what_peft_saves_is_accepted_and_keeps_its_meaning(llama, tmp_path, fields):
    expected = train(llama, tmp_path, **fields)
    adapter = validate(*load(tmp_path), BASE, Limits())
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter.config))
    again = PeftModel.from_pretrained(copy.deepcopy(llama), tmp_path)
    assert torch.equal(logits(again), expected)
    assert not torch.equal(expected, logits(llama))


@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True},
        {"bias": "lora_only"},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"lora_bias": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ],
    ids=lambda fields: next(iter(fields)),
)
# PEFT warns of a checkpoint that has no config.json beside it when it saves embeddings.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_more_than_plain_lora_is_refused(llama, tmp_path, fields):
    train(llama, tmp_path, **fields)
    with pytest.raises(InvalidAdapter):
        validate(*load(tmp_path), BASE, Limits())


def test_a_torch_file_is_refused_by_what_it_is(llama, tmp_path):
    train(llama, tmp_path)
    config, _ = load(tmp_path)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "adapter_model.bin")
    with pytest.raises(InvalidAdapter, match="zip archive"):
        validate(config, (tmp_path / "adapter_model.bin").read_bytes(), BASE, Limits())
    torch.save({}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidAdapter, match="a pickle"):
        validate(config, (tmp_path / "old.bin").read_bytes(), BASE, Limits())
