"""Saves adapters with whatever MLX is installed, and what they make a tiny Llama say.

In an environment that has mlx-lm: `python tests/adapters/save_mlx.py tests/adapters`. The Llama is
that of `save.py`.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import save_config

ARGUMENTS = {
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
VARIANTS = {
    "all": {"num_layers": 2, "lora_parameters": {"rank": 2, "scale": 2.0, "dropout": 0.0}},
    "keys": {
        "num_layers": 1,
        "lora_parameters": {
            "rank": 3,
            "scale": 0.5,
            "dropout": 0.1,
            "keys": ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"],
        },
    },
}


def wave(name: str, shape: tuple[int, ...]) -> mx.array:
    """As `save.filled` has it."""
    steps = np.arange(np.prod(shape), dtype=np.float64) + float(sum(name.encode()) % 97)
    waves = np.sin(steps * steps * 0.37).reshape(shape)
    return mx.array((waves * 0.4 if len(shape) > 1 else 1 + waves * 0.1).astype(np.float32))


def filled(network: Model, weights: object) -> None:
    """Set some weights of the network."""
    waves = [(name, wave(name, each.shape)) for name, each in tree_flatten(weights)]
    network.update(tree_unflatten(waves))


def save(folder: Path, num_layers: int, lora_parameters: dict[str, object]) -> None:
    """One adapter, with the logits that this release of MLX computes with it."""
    network = Model(ModelArgs(**ARGUMENTS))
    filled(network, network.parameters())
    network.freeze()
    linear_to_lora_layers(network, num_layers, lora_parameters)
    filled(network, network.trainable_parameters())
    folder.mkdir(parents=True)
    adapter = dict(tree_flatten(network.trainable_parameters()))
    mx.save_safetensors(str(folder / "adapters.safetensors"), adapter)
    said = {"model": "mlx-community/tiny-4bit", "fine_tune_type": "lora", "num_layers": num_layers}
    save_config(said | {"lora_parameters": lora_parameters}, folder / "adapter_config.json")
    logits = np.array(network.eval()(mx.arange(10)[None])[0])
    rounded = logits.astype(np.float64).round(6)
    (folder / "logits.json").write_text(json.dumps(rounded.tolist()))


if __name__ == "__main__":
    for variant, options in VARIANTS.items():
        save(Path(sys.argv[1]) / f"mlx-{version('mlx-lm')}" / variant, **options)
