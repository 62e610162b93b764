"""What MLX has saved means the same once it is PEFT's."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from adapters import save
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_adapter import BASE

from registry.adapter import Limits, validate, warnings
from registry.errors import InvalidAdapter
from registry.files import AdapterFiles
from specialists.errors import NoAdapter
from specialists.mlx_adapter import is_of_mlx, to_peft

SAVED = sorted((Path(__file__).parents[1] / "adapters").glob("mlx-*/*"))


def converted(folder, to):
    """The bytes of an adapter's two files, as PEFT has them."""
    to.mkdir()
    to_peft(folder, to)
    files = AdapterFiles.in_folder(to)
    return files.config.read_bytes(), files.weights.read_bytes()


@pytest.mark.parametrize("folder", SAVED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_it_made_a_base_say_peft_makes_it_say(folder, tmp_path):
    config, weights = converted(folder, tmp_path / "plain")
    adapter = validate(config, weights, BASE, Limits())
    assert warnings(config, weights, BASE, Limits()) == []
    (tmp_path / "plain" / "adapter_config.json").write_text(json.dumps(adapter.config))
    expected = torch.tensor(json.loads((folder / "logits.json").read_text()))
    bare = save.base()
    assert not torch.allclose(save.said(bare), expected, atol=1e-2)
    network = PeftModel.from_pretrained(bare, tmp_path / "plain")
    torch.testing.assert_close(save.said(network), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture
def folder(tmp_path):
    """One to be spoilt."""
    return shutil.copytree(SAVED[0], tmp_path / "adapter")


def change(folder, **fields):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fine_tune_type": "dora"}, "'dora'"),
        ({"fine_tune_type": "full"}, "'full'"),
        ({"lora_parameters": None}, "no rank and scale"),
        ({"lora_parameters": {"rank": 2, "alpha": 4}}, "no rank and scale"),
        ({"lora_parameters": {"rank": "two", "scale": 1}}, "no rank and scale"),
    ],
)
def test_what_is_no_plain_lora_is_refused(folder, tmp_path, fields, said):
    change(folder, **fields)
    with pytest.raises(NoAdapter, match=said):
        to_peft(folder, tmp_path)


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.lora_a", "lm_head.lora_b", "model.layers.0.self_attn.q_proj.m"]
)
def test_a_tensor_that_no_plain_lora_has_is_named(folder, tmp_path, name):
    file = folder / "adapters.safetensors"
    save_file(load_file(file) | {name: torch.ones(2, 2)}, file)
    with pytest.raises(NoAdapter, match=name):
        to_peft(folder, tmp_path)


@pytest.mark.parametrize("name", ["adapters.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_files_that_cannot_be_read_are_refused(folder, tmp_path, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(NoAdapter, match="cannot be read"):
        to_peft(folder, tmp_path)


def test_half_precision_is_kept(folder, tmp_path):
    file = folder / "adapters.safetensors"
    halves = {name: each.bfloat16() for name, each in load_file(file).items()}
    save_file(halves, file)
    config, weights = converted(folder, tmp_path / "plain")
    assert validate(config, weights, BASE, Limits())
    found = load_file(tmp_path / "plain" / "adapter_model.safetensors")
    assert {each.dtype for each in found.values()} == {torch.bfloat16}


def test_one_that_holds_nothing_is_refused_by_the_registry(folder, tmp_path):
    save_file({}, folder / "adapters.safetensors")
    config, weights = converted(folder, tmp_path / "plain")
    with pytest.raises(InvalidAdapter, match="holds no tensors"):
        validate(config, weights, BASE, Limits())


def test_files_of_peft_go_first(folder):
    assert is_of_mlx(folder)
    (folder / "adapter_model.safetensors").touch()
    assert not is_of_mlx(folder)
    assert not is_of_mlx(folder / "nowhere")
