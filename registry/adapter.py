"""Adapters as strangers send them: validated against the base, their configuration rebuilt."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from registry.base import BaseSpec
from registry.content import Buffer
from registry.errors import InvalidAdapter
from registry.files import CONFIG, WEIGHTS
from registry.limits import Limits
from registry.lora_config import LoraConfig, read_config
from registry.lora_weights import Pair, change, check_finite, is_zero, pair_up
from registry.name_pattern import endings
from registry.safetensors_header import read_header

__all__ = ["Adapter", "Limits", "validate", "warnings"]

QUANTISED = re.compile(r"[.-](ud-)?(i?q\d\w*|b?f16|f32)$")
"""What names of GGUF files end in, in small letters."""


@dataclass(frozen=True)
class Adapter:
    """What a valid adapter is.

    `config` is a PEFT configuration in one spelling: every module with a rank or an alpha of its
    own stands in the patterns by its full name. `rank` is the largest of any module, `targets` are
    the modules it adapts in some layer, `parameters` the number of its weights. `outlier` says in a
    sentence why it is hardly what it is meant to be, if it is not.
    """

    kind: str
    config: dict[str, Any]
    rank: int
    targets: tuple[str, ...]
    parameters: int
    outlier: str | None = None


def validate(config: bytes, weights: Buffer, base: BaseSpec, limits: Limits) -> Adapter:
    """Check the two files of a plain LoRA adapter; nothing in them is run or trusted.

    Args:
        config: adapter_config.json.
        weights: adapter_model.safetensors.
        base: what the adapter must fit.
        limits: how large it may be.

    Raises:
        InvalidAdapter: names the file and, where there is one, the tensor at fault.
    """
    if len(weights) > limits.max_bytes:
        raise InvalidAdapter(
            f"has {len(weights):,} bytes; at most {limits.max_bytes:,} are allowed.", WEIGHTS
        )
    lora = read_config(config, limits)
    tensors = read_header(weights)
    pairs = pair_up(tensors, base)
    _check_targets(lora, pairs, base)
    _check_ranks(lora, pairs)
    _check_scales(lora, pairs, limits)
    check_finite(weights, tensors)
    return Adapter(
        kind="lora",
        config=_rebuild(lora, pairs, base),
        rank=max(pair.rank for pair in pairs),
        targets=tuple(sorted({pair.module for pair in pairs})),
        parameters=sum(tensor.size for tensor in tensors.values()),
        outlier=_outlier(weights, lora, pairs, limits),
    )


def warnings(config: bytes, weights: Buffer, base: BaseSpec, limits: Limits) -> list[str]:
    """What the owner of a valid adapter had better know, in sentences.

    Args:
        config: adapter_config.json.
        weights: adapter_model.safetensors.
        base: what the adapter fits.
        limits: how large it may be.
    """
    lora = read_config(config, limits)
    pairs = pair_up(read_header(weights), base)
    found = []
    if lora.base and not _is_called(lora.base, base.name):
        found.append(
            f"{CONFIG} names the base {lora.base[:160]!a}, but {base.name} is served: the shapes "
            "fit, yet an adapter of another base answers nonsense."
        )
    there = {pair.path for pair in pairs}
    lacking = [path for path in _promised(lora, base) if path not in there]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        found.append(
            f"{CONFIG} names modules for which {WEIGHTS} has no tensors: {lacking[0]}{more}. "
            "They stay as in the base."
        )
    if all(is_zero(weights, pair.b) for pair in pairs):
        found.append("It changes nothing: every lora_B is zero, as before any training.")
    return found


def _is_called(said: str, name: str) -> bool:
    """Whether a config names a base as we do: a hub id or a folder that ends in its name."""
    last = said.rstrip("/").rpartition("/")[2].lower()
    # Quantised copies, such as "…-bnb-4bit" or "….Q4_K_M", are of the same base.
    return last.startswith(QUANTISED.sub("", name.lower()))


def _promised(lora: LoraConfig, base: BaseSpec) -> Iterator[str]:
    """Modules that the config names one by one."""
    if lora.targets is None or lora.excluded is None:
        return
    for layer in range(base.layers):
        for module in base.modules:
            path = f"model.layers.{layer}.{module}"
            if lora.adapts(layer, path):
                yield path


def _check_targets(lora: LoraConfig, pairs: Sequence[Pair], base: BaseSpec) -> None:
    """PEFT ignores a tensor outside the targets, and a target without tensors does nothing."""
    for pair in pairs:
        if not lora.adapts(pair.layer, pair.path):
            message = (
                f"{CONFIG} leaves this module out: see target_modules, exclude_modules and "
                "layers_to_transform there."
            )
            raise InvalidAdapter(message, WEIGHTS, pair.a.name)
    meant = {name for module in base.modules for name in endings(module)}
    there = {name for pair in pairs for name in endings(pair.path)}
    for target in lora.targets or ():
        if target in meant and target not in there and target not in (lora.excluded or ()):
            message = f"holds no tensor for '{target}', which target_modules in {CONFIG} names."
            raise InvalidAdapter(message, WEIGHTS)


def _check_ranks(lora: LoraConfig, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        expected = lora.rank_of(pair.path)
        if pair.rank != expected:
            message = f"has rank {pair.rank}, but {CONFIG} says {expected}."
            raise InvalidAdapter(message, WEIGHTS, pair.a.name)


def _check_scales(lora: LoraConfig, pairs: Sequence[Pair], limits: Limits) -> None:
    for pair in pairs:
        scale = lora.scale_of(pair.path)
        if scale > limits.max_scale:
            raise InvalidAdapter(
                f"the scale of {pair.path} is {scale:g}; at most {limits.max_scale:g} is allowed. "
                "Lower lora_alpha.",
                CONFIG,
            )


def _outlier(
    weights: Buffer, lora: LoraConfig, pairs: Sequence[Pair], limits: Limits
) -> str | None:
    found = {pair.path: change(weights, pair, lora.scale_of(pair.path)) for pair in pairs}
    path, most = max(found.items(), key=lambda item: item[1])
    if most <= limits.max_change:
        return None
    return (
        f"It changes the weights of {path} by {most:.2g} on average, where trained adapters stay "
        f"below {limits.max_change:g}."
    )


def _rebuild(lora: LoraConfig, pairs: Sequence[Pair], base: BaseSpec) -> dict[str, Any]:
    ranks = {pair.path: pair.rank for pair in pairs if pair.rank != lora.rank}
    alphas = {pair.path: lora.alpha_of(pair.path) for pair in pairs}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": _plain(lora.alpha),
        "use_rslora": lora.rslora,
        "target_modules": _rebuild_targets(pairs, base),
        "rank_pattern": ranks,
        "alpha_pattern": {p: _plain(a) for p, a in alphas.items() if a != lora.alpha},
        "bias": "none",
        "fan_in_fan_out": False,
    }


def _rebuild_targets(pairs: Sequence[Pair], base: BaseSpec) -> list[str]:
    """Module names if every layer has them all, full names otherwise."""
    modules = sorted({pair.module for pair in pairs})
    if len(pairs) == len(modules) * base.layers:
        return modules
    return [pair.path for pair in pairs]


def _plain(number: float) -> float:
    """16 for 16.0: one spelling, so that equal adapters have equal digests."""
    return int(number) if number == int(number) else number
