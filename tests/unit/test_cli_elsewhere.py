"""What others trained goes into service: adapters of MLX's, and whole fine-tuned models."""

import json
import shutil

import pytest
import torch
from cli_world import MLX, live, myriad
from hub import serving
from tiny import tiny_base
from transformers import AutoModelForCausalLM

from registry.base import BaseSpec

CARD = "---\nlicense: mit\n---\nAnswers questions on claims.\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny-llama")


@pytest.fixture
def server(base, tmp_path, monkeypatch):
    spec = BaseSpec.from_folder(base.folder, base.name)
    with live(tmp_path / "server", spec) as server:
        monkeypatch.setenv("MYRIAD_URL", server.url)
        monkeypatch.setenv("MYRIAD_BASE", str(base.folder))
        monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
        yield server


def tuned(base, folder, *, far=False, also=""):
    """A model whose linears were all changed: by one rank, or by all that they have."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "proj" in name:
                weight.add_(torch.randn_like(weight) if far else torch.full_like(weight, 0.01))
            elif also and also in name:
                weight.mul_(2)
    network.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_fine_tuned_model_becomes_a_specialist(server, base, tmp_path):
    model, adapter = tuned(base, tmp_path / "model"), tmp_path / "adapter"
    ran = myriad("extract", str(model), str(adapter), "--rank", "2")
    assert ran.code == 0, ran.err
    assert "has 100% of what 14 linears gained, in rank 2" in ran.out
    assert f"myriad specialists register OWNER/NAME {adapter}" in ran.out
    assert "little" not in ran.out
    ran = myriad("specialists", "register", "acme/claims", str(adapter), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["warnings"] == []
    card = server.registry.get("acme/claims").card
    assert (card.description, card.license) == ("Answers questions on claims.", "mit")


def test_what_an_adapter_does_not_have_of_a_model_is_said(server, base, tmp_path):
    model = tuned(base, tmp_path / "model", far=True, also="norm")
    words = ("extract", str(model), str(tmp_path / "adapter"), "--rank", "1")
    ran = myriad(*words)
    assert "That is little" in ran.out
    assert "left out: model.layers.0.input_layernorm.weight and 4 more." in ran.out
    *events, found = [json.loads(line) for line in myriad(*words, "--json").out.splitlines()]
    assert all(event["event"] in ("progress", "preparing") for event in events)
    assert found["kept"] < 0.5
    assert len(found["left_out"]) == 5


def test_what_is_no_model_of_the_base_is_said(server, tmp_path):
    (tmp_path / "empty").mkdir()
    for place, said in (("empty", "holds no *.safetensors"), ("nowhere/at/all", "is no folder")):
        ran = myriad("extract", str(tmp_path / place), str(tmp_path / "adapter"))
        assert ran.code != 0
        assert said in " ".join(ran.err.split())


def test_a_hub_has_both(server, base, tmp_path):
    files = shutil.copytree(MLX, tmp_path / "mlx")
    (files / "README.md").write_text(CARD)
    model = tuned(base, tmp_path / "model")
    (model / "consolidated.safetensors").write_bytes(b"the same again")
    with serving(tmp_path / "hub") as hub:
        hub.publish("acme/claims-mlx", files)
        hub.publish("acme/claims-whole", model)
        ran = myriad("specialists", "register", "acme/mlx", "acme/claims-mlx")
        # The same names, for another base than the one that is served.
        assert "lora_A.weight" in ran.err
        adapter = str(tmp_path / "adapter")
        ran = myriad("extract", "acme/claims-whole", adapter, "--rank", "1")
        assert ran.code == 0, ran.err
        assert myriad("specialists", "register", "acme/claims", adapter).code == 0
