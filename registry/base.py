"""The base model's shape: what an adapter must fit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry.base_digest import base_digest
from registry.errors import UnsupportedBase


@dataclass(frozen=True)
class BaseSpec:
    """A Llama base: its name, its sizes, and its adaptable linears.

    `digest` is of its config and weights, which the name alone does not tell. `modules` maps a
    module's name within a layer, such as `self_attn.q_proj`, to (d_out, d_in).
    `context` is the number of positions it was trained for, `license` what its model card says.
    """

    name: str
    digest: str
    layers: int
    hidden: int
    context: int
    modules: Mapping[str, tuple[int, int]]
    license: str | None = None

    @classmethod
    def from_folder(cls, folder: Path, name: str, cache: Path | None = None) -> "BaseSpec":
        """Read `config.json` of a Llama checkpoint, and the digest of its weights.

        Args:
            folder: the checkpoint.
            name: what it is called.
            cache: see `base_digest`.

        Raises:
            UnsupportedBase: there is no readable config.json, or it is of another architecture.
        """
        config = _read_config(folder / "config.json")
        try:
            return cls(
                name=name,
                digest=base_digest(folder, cache),
                layers=int(config["num_hidden_layers"]),
                hidden=int(config["hidden_size"]),
                context=int(config["max_position_embeddings"]),
                modules=_modules(config),
                license=_license(folder / "README.md"),
            )
        except KeyError as error:
            raise UnsupportedBase(f"{folder / 'config.json'} lacks the field {error}.") from error
        except OSError as error:
            raise UnsupportedBase(f"{folder} cannot be read ({error}).") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnsupportedBase(f"{path} cannot be read ({error}). Prepare the base again.") from None
    if not isinstance(config, dict) or config.get("model_type") != "llama":
        raise UnsupportedBase(f"{path} is not the configuration of a Llama model.")
    return config


def _license(card: Path) -> str | None:
    """The licence in the head of a model card (https://hf.co/docs/hub/model-cards), if it has one.

    `other` stands for what `license_name` says.
    """
    try:
        _, head, _ = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
        fields = yaml.safe_load(head)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    named = fields.get("license") if isinstance(fields, dict) else None
    if named == "other":
        named = fields.get("license_name", named)
    return named if isinstance(named, str) else None


def _modules(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or hidden // heads)
    queries = heads * width
    keys = int(config.get("num_key_value_heads") or heads) * width
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
