"""What a fine-tuned model learnt becomes an adapter, as far as its rank carries it."""

import json

import numpy as np
import pytest
import torch
from engines import ALL, make_adapter
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny import tiny_base
from transformers import AutoModelForCausalLM

from registry.adapter import Limits, validate, warnings
from registry.base import BaseSpec
from registry.files import AdapterFiles
from specialists.errors import NoAdapter
from specialists.extraction import extract

QUERIES = "model.layers.0.self_attn.q_proj.weight"
PROMPT = torch.arange(5, 25).unsqueeze(0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


def said(network):
    with torch.no_grad():
        return network.eval()(PROMPT).logits


def network_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def tuned_by(change, base, folder):
    """A model that is the base with changed weights, by name."""
    network = network_of(base.folder)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            change(name, weight)
    network.save_pretrained(folder)
    return folder


def adapted(base, folder):
    return PeftModel.from_pretrained(network_of(base.folder), folder)


@pytest.mark.parametrize(("rank", "kept"), [(8, 1.0), (6, 1.0), (2, None)])
def test_a_merged_adapter_is_found_again(base, tmp_path, rank, kept):
    made = make_adapter(base, tmp_path / "made", seed=3, r=6)
    merged = adapted(base, made).merge_and_unload()
    merged.save_pretrained(tmp_path / "tuned")
    found = extract(base, tmp_path / "tuned", tmp_path / "found", rank)
    assert (found.rank, found.linears, found.left_out) == (rank, 14, ())
    again = said(adapted(base, tmp_path / "found"))
    if kept is None:
        assert 0.2 < found.kept < 0.95
        return
    assert found.kept == pytest.approx(kept, abs=1e-4)
    torch.testing.assert_close(again, said(merged), atol=2e-3, rtol=1e-3)
    assert not torch.allclose(again, said(network_of(base.folder)), atol=0.1)


def test_the_registry_takes_it(base, tmp_path):
    tuned = tuned_by(lambda _, weight: weight.add_(torch.ones_like(weight)), base, tmp_path / "a")
    extract(base, tuned, tmp_path / "found", 4)
    spec = BaseSpec.from_folder(base.folder, base.name)
    files = AdapterFiles.in_folder(tmp_path / "found")
    content = files.config.read_bytes(), files.weights.read_bytes()
    assert validate(*content, spec, Limits()).rank == 4
    assert warnings(*content, spec, Limits()) == []


def test_no_other_adapter_of_its_rank_is_nearer(base, tmp_path):
    draw = torch.Generator().manual_seed(7)
    tuned = tuned_by(
        lambda name, weight: (
            weight.add_(torch.randn(weight.shape, generator=draw)) if name == QUERIES else None
        ),
        base,
        tmp_path / "tuned",
    )
    found = extract(base, tuned, tmp_path / "found", 5)
    change = network_of(tuned).state_dict()[QUERIES] - network_of(base.folder).state_dict()[QUERIES]
    strengths = np.linalg.svd(change.numpy(), compute_uv=False) ** 2
    assert found.linears == 1
    assert found.kept == pytest.approx(strengths[:5].sum() / strengths.sum(), rel=1e-3)
    pair = load_file(tmp_path / "found" / "adapter_model.safetensors")
    at = f"base_model.model.{QUERIES.removesuffix('.weight')}"
    missed = change - pair[f"{at}.lora_B.weight"] @ pair[f"{at}.lora_A.weight"]
    assert float(missed.square().sum()) == pytest.approx(strengths[5:].sum(), rel=1e-3)


def test_what_no_adapter_carries_is_named(base, tmp_path):
    changed = (QUERIES, "model.norm.weight", "model.embed_tokens.weight")
    tuned = tuned_by(
        lambda name, weight: weight.mul_(1.1) if name in changed else None, base, tmp_path / "tuned"
    )
    file = tuned / "model.safetensors"
    save_file(load_file(file) | {"extra.weight": torch.ones(2)}, file)
    found = extract(base, tuned, tmp_path / "found", 4)
    assert set(found.left_out) == {*changed[1:], "extra.weight"}


def test_what_is_saved_besides_and_says_nothing_is_no_change(base, tmp_path):
    """A head that is the embedding, which the base shares; what follows from the configuration."""
    tuned = tuned_by(
        lambda _, weight: weight.mul_(1.5) if weight.dim() > 1 else None, base, tmp_path / "t"
    )
    file = tuned / "model.safetensors"
    weights = load_file(file)
    former = load_file(base.folder / "model.safetensors")["model.embed_tokens.weight"]
    more = {
        "model.embed_tokens.weight": former,
        "lm_head.weight": former.clone(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    save_file(weights | more, file)
    assert extract(base, tuned, tmp_path / "found", 4).left_out == ()


def test_many_files_are_read_and_the_same_comes_of_them_again(base, tmp_path):
    made = make_adapter(base, tmp_path / "made", seed=3, r=4)
    merged = adapted(base, made).merge_and_unload()
    merged.save_pretrained(tmp_path / "tuned", max_shard_size="20KB")
    assert len(list((tmp_path / "tuned").glob("*.safetensors"))) > 1
    told = []
    for name in ("one", "two"):
        extract(base, tmp_path / "tuned", tmp_path / name, 4, lambda *step: told.append(step))
    one, two = (AdapterFiles.in_folder(tmp_path / name) for name in ("one", "two"))
    assert one.weights.read_bytes() == two.weights.read_bytes()
    assert json.loads(one.config.read_bytes())["r"] == 4
    assert told[0] == ("Comparing linears", 0, 14)
    assert told[-1] == ("Comparing linears", 14, 14)


def test_its_precision_is_that_of_the_model(base, tmp_path):
    made = make_adapter(base, tmp_path / "made", seed=3, r=4)
    merged = adapted(base, made).merge_and_unload().to(torch.bfloat16)
    merged.save_pretrained(tmp_path / "tuned")
    found = extract(base, tmp_path / "tuned", tmp_path / "found", 4)
    assert found.kept > 0.99
    weights = load_file(tmp_path / "found" / "adapter_model.safetensors")
    assert {each.dtype for each in weights.values()} == {torch.bfloat16}


def test_a_rank_that_a_linear_cannot_have_is_its_largest(base, tmp_path):
    tuned = tuned_by(lambda _, weight: weight.mul_(1.1), base, tmp_path / "tuned")
    smallest = min(
        min(weight.shape)
        for name, weight in network_of(base.folder).named_parameters()
        if any(each in name for each in ALL)
    )
    found = extract(base, tuned, tmp_path / "found", 256)
    assert found.rank == smallest
    assert found.kept > 0.5


@pytest.mark.parametrize("spoil", ["gone", "shape", "same", "none", "nonsense"])
def test_what_is_not_tuned_from_the_base_is_refused(base, tmp_path, spoil):
    tuned = tuned_by(lambda _, weight: weight.mul_(1.1), base, tmp_path / "tuned")
    file = tuned / "model.safetensors"
    weights = load_file(file)
    if spoil == "gone":
        del weights[QUERIES]
    if spoil == "shape":
        weights[QUERIES] = torch.ones(3, 3)
    save_file(weights, file)
    if spoil == "same":
        file.write_bytes((base.folder / "model.safetensors").read_bytes())
    if spoil == "none":
        file.unlink()
    if spoil == "nonsense":
        file.write_bytes(b"nonsense")
    words = {"same": "nothing to extract", "nonsense": "cannot be read", "none": "holds no"}
    with pytest.raises(NoAdapter, match=words.get(spoil, "is of another base")):
        extract(base, tuned, tmp_path / "found", 4)
    assert not (tmp_path / "found").exists()
