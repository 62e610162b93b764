"""adapter_config.json of a plain LoRA: read field by field, never passed on as it came."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry import strict_json
from registry.errors import InvalidAdapter
from registry.files import CONFIG
from registry.limits import Limits
from registry.name_pattern import NamePattern, endings

# Fields that say where an adapter comes from or how it was trained: they change no answer, and
# no name of a class or a module in them is ever imported.
_HISTORY = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "eva_config",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "unsloth_fixed",
    }
)
_READ = frozenset(
    {
        "alpha_pattern",
        "exclude_modules",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "r",
        "rank_pattern",
        "target_modules",
    }
)
# Every other field must have a value of this table, or be empty: then it changes nothing either.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "bias": ("none",),
    "init_lora_weights": (True, "gaussian", "orthogonal", "eva"),
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM",),
    "use_rslora": (True,),
}


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """The fields that decide what a LoRA computes.

    `targets` and `excluded` are module names or their endings; None leaves them to the tensors that
    are there. `layers` are the numbers of those that are adapted; None is all. The patterns map
    module names to a module's own rank and alpha. `base` is what it says it was trained on.
    """

    rank: int
    alpha: float
    rslora: bool
    targets: tuple[str, ...] | None
    excluded: tuple[str, ...] | None
    layers: frozenset[int] | None
    ranks: NamePattern[int]
    alphas: NamePattern[float]
    base: str | None = None

    def adapts(self, layer: int, path: str) -> bool:
        """Whether PEFT would adapt this module, as far as the config says."""
        names = endings(path)
        targeted = self.targets is None or not set(self.targets).isdisjoint(names)
        excluded = self.excluded is not None and not set(self.excluded).isdisjoint(names)
        return targeted and not excluded and (self.layers is None or layer in self.layers)

    def rank_of(self, path: str) -> int:
        """The rank of the module with this full name, such as `model.layers.0.mlp.up_proj`."""
        return self.ranks.first(path, self.rank)

    def alpha_of(self, path: str) -> float:
        """Alpha of the module with this full name."""
        return self.alphas.first(path, self.alpha)

    def scale_of(self, path: str) -> float:
        """What B·A is multiplied by: alpha / r, or alpha / √r for rank-stabilised LoRA."""
        rank = self.rank_of(path)
        return self.alpha_of(path) / (math.sqrt(rank) if self.rslora else rank)


def read_config(data: bytes, limits: Limits) -> LoraConfig:
    """Read adapter_config.json.

    Raises:
        InvalidAdapter: not JSON, no plain LoRA, or a field is missing or out of bounds.
    """
    fields = _fields(data, limits)
    _check_plain(fields)
    return LoraConfig(
        rank=_rank("r", fields.get("r"), limits),
        alpha=_alpha("lora_alpha", fields.get("lora_alpha")),
        rslora=bool(fields.get("use_rslora")),
        targets=_modules("target_modules", fields.get("target_modules")),
        excluded=_modules("exclude_modules", fields.get("exclude_modules") or []),
        layers=_layers(fields.get("layers_to_transform")),
        base=_text(fields.get("base_model_name_or_path")),
        ranks=NamePattern(
            "rank_pattern",
            {
                key: _rank(f"rank_pattern[{_short(key)}]", value, limits)
                for key, value in _pattern(fields, "rank_pattern").items()
            },
        ),
        alphas=NamePattern(
            "alpha_pattern",
            {
                key: _alpha(f"alpha_pattern[{_short(key)}]", value)
                for key, value in _pattern(fields, "alpha_pattern").items()
            },
        ),
    )


def _fields(data: bytes, limits: Limits) -> dict[str, Any]:
    if len(data) > limits.max_config_bytes:
        raise _refusal(f"has {len(data):,} bytes; at most {limits.max_config_bytes:,} are allowed.")
    try:
        fields = strict_json.loads(data)
    except ValueError as error:
        raise _refusal(f"is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise _refusal("is not a JSON object.")
    if fields.get("peft_type") != "LORA":
        raise _refusal("peft_type must be 'LORA'; no other kind of adapter is served.")
    return fields


def _check_plain(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if name in _HISTORY or name in _READ or value in (None, False, "", [], {}):
            continue
        if value not in _NEUTRAL.get(name, ()):
            raise _refusal(
                f"the field {_short(name)} has the value {_short(value)}, which plain LoRA does "
                "not have. Remove it, train the adapter without it, or merge it into its base and "
                "make a plain one of that with `myriad extract`."
            )


def _rank(field: str, value: object, limits: Limits) -> int:
    if type(value) is not int or not 1 <= value <= limits.max_rank:
        raise _refusal(
            f"{field} must be a whole number from 1 to {limits.max_rank}, not {_short(value)}."
        )
    return value


def _alpha(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 2**20:
        raise _refusal(f"{field} must be a positive number up to {2**20}, not {_short(value)}.")
    return value


def _modules(field: str, value: object) -> tuple[str, ...] | None:
    """A text (PEFT's pattern or "all-linear") is never run: the tensors show what it chose."""
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _refusal(f"{field} must be a list of module names, or a text.")
    return tuple(value)


def _layers(value: object) -> frozenset[int] | None:
    layers = [value] if type(value) is int else value
    if layers in (None, False, "", [], {}):
        return None
    if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
        raise _refusal("layers_to_transform must be a layer's number, or a list of them.")
    return frozenset(layers)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _pattern(fields: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A pattern's entries in their order."""
    pattern = fields.get(field) or {}
    if not isinstance(pattern, dict):
        raise _refusal(f"{field} must be an object of module names and numbers.")
    return pattern


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 160 else text[:160] + "..."


def _refusal(message: str) -> InvalidAdapter:
    return InvalidAdapter(message, CONFIG)
