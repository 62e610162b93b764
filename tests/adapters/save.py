"""Saves adapters with whatever PEFT is installed, and what they make a tiny Llama say.

Run once for each release of PEFT, in an environment of its own:
    python tests/adapters/save.py tests/adapters
"""

import json
import sys
from pathlib import Path

import peft
import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
PROMPT = torch.arange(10).unsqueeze(0)
VARIANTS = {
    "all": {"target_modules": "all-linear", "lora_alpha": 4},
    "patterns": {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "rank_pattern": {"v_proj": 3},
        "alpha_pattern": {"down_proj": 5},
        "use_rslora": True,
        "lora_dropout": 0.1,
    },
    "layers": {
        "target_modules": ["q_proj", "up_proj"],
        "layers_to_transform": [1],
        "layers_pattern": "layers",
        "init_lora_weights": "gaussian",
    },
}


def filled(network: torch.nn.Module, only: str = "") -> torch.nn.Module:
    """The network with weights that are the same under every release of everything."""
    with torch.no_grad():
        for name, weight in sorted(network.named_parameters()):
            if only in name:
                start = float(sum(name.encode()) % 97)
                steps = torch.arange(weight.numel(), dtype=torch.float64) + start
                waves = (steps * steps * 0.37).sin().reshape(weight.shape)
                weight.copy_(waves * 0.4 if weight.dim() > 1 else 1 + waves * 0.1)
    return network


def base() -> LlamaForCausalLM:
    """The tiny Llama."""
    return filled(LlamaForCausalLM(LlamaConfig(**SHAPE))).eval()


def said(network: torch.nn.Module) -> torch.Tensor:
    """Its logits for a fixed prompt, [10, 32]."""
    with torch.no_grad():
        return network.eval()(PROMPT).logits[0]


def save(folder: Path, **fields: object) -> None:
    """One adapter, with the logits that this release of PEFT computes with it."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, **fields)
    network = filled(peft.get_peft_model(base(), config), only="lora_")
    network.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    logits = said(network)
    # Every release has computed the same so far, so that one file stands for all.
    kept = folder.parents[1] / f"{folder.name}.json"
    if not kept.exists():
        kept.write_text(json.dumps([[round(each, 6) for each in row] for row in logits.tolist()]))
    torch.testing.assert_close(logits, torch.tensor(json.loads(kept.read_text())))


if __name__ == "__main__":
    for variant, options in VARIANTS.items():
        save(Path(sys.argv[1]) / f"peft-{peft.__version__}" / variant, **options)
