"""Adapters as strangers send them: validated against the base, their configuration rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.base import BaseSpec
from registry.content import Buffer
from registry.errors import InvalidAdapter
from registry.files import CONFIG, WEIGHTS
from registry.limits import Limits
from registry.lora_config import LoraConfig, endings, read_config
from registry.lora_weights import Pair, check_finite, pair_up
from registry.safetensors_header import read_header

__all__ = ["Adapter", "Limits", "validate"]


@dataclass(frozen=True)
class Adapter:
    """What a valid adapter is.

    `config` is a PEFT configuration in one spelling: every module with a rank or an alpha of its
    own stands in the patterns by its full name. `rank` is the largest of any module, `targets` are
    the modules it adapts in some layer, `parameters` the number of its weights.
    """

    kind: str
    config: dict[str, Any]
    rank: int
    targets: tuple[str, ...]
    parameters: int


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
    )


def _check_targets(lora: LoraConfig, pairs: Sequence[Pair], base: BaseSpec) -> None:
    """PEFT ignores a tensor outside the targets, and a target without tensors does nothing."""
    if lora.targets is None:
        return
    targets = set(lora.targets)
    for pair in pairs:
        if targets.isdisjoint(endings(pair.path)):
            message = f"target_modules in {CONFIG} does not name this module."
            raise InvalidAdapter(message, WEIGHTS, pair.a.name)
    meant = {name for module in base.modules for name in endings(module)}
    there = {name for pair in pairs for name in endings(pair.path)}
    for target in lora.targets:
        if target in meant and target not in there:
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
