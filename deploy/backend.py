"""What computes, from the settings."""

import torch

from deploy.settings import MIB, MOST_CACHE_MIB, EngineSettings
from specialists.base import Base
from specialists.engine.backend import Backend
from specialists.engine.engine import EngineOptions
from specialists.engine.loads import LocateAdapter
from specialists.engine.runner import Runner
from specialists.engine.vllm.runner import VllmOptions, VllmRunner
from specialists.hardware import choose_dtype, dtype_name
from specialists.machine import cores, memory

PROCESSES_MIB = 1640
"""What all processes of one machine take, with the embedded base (`benchmarks.chaos idle`)."""
LEAST_CACHE_MIB = 64
FAR_AT_ONCE = 16
"""Adapters that are fetched at once where their files are kept elsewhere."""


def open_backend(
    settings: EngineSettings, base: Base, locate: LocateAdapter, *, far: bool = False
) -> Backend:
    """The engine that the settings name, with a base in memory.

    Args:
        settings: the engine's.
        base: what it computes.
        locate: finds an adapter's files.
        far: whether these may first have to be fetched from elsewhere.

    Raises:
        BaseUnavailable: the base is not one that it computes.
        NoVllm: there is no vLLM where it is looked for, or it does not start.
    """
    if settings.kind == "vllm":
        options = vllm_options(settings)
        return VllmRunner(base.folder, locate, options, max_waiting=settings.max_waiting)
    return Runner.from_folder(
        base.folder, locate, engine_options(settings, far=far), max_waiting=settings.max_waiting
    )


def engine_options(settings: EngineSettings, *, far: bool = False) -> EngineOptions:
    """Our engine's limits; `far` as for `open_backend`."""
    return EngineOptions(
        weights=settings.weights,
        device=settings.device,
        threads=_threads(settings),
        max_rows=settings.max_rows,
        step_tokens=settings.step_tokens,
        kv_bytes=_cache_bytes(settings, settings.kv_mib),
        slot_bytes=_cache_bytes(settings, settings.slot_mib),
        max_context=settings.max_context,
        finders=FAR_AT_ONCE if far else 1,
    )


def vllm_options(settings: EngineSettings) -> VllmOptions:
    """VLLM's limits."""
    return VllmOptions(
        python=settings.vllm.interpreter,
        device=settings.device,
        dtype=_dtype(settings),
        threads=_threads(settings),
        max_rows=settings.max_rows,
        step_tokens=settings.step_tokens,
        kv_bytes=_cache_bytes(settings, settings.kv_mib),
        slot_bytes=_cache_bytes(settings, settings.slot_mib),
        max_rank=settings.vllm.max_rank,
        batch_adapters=settings.vllm.batch_adapters,
        max_context=settings.max_context,
        arguments=settings.vllm.arguments,
    )


def _dtype(settings: EngineSettings) -> str:
    """Of the weights; vLLM by itself takes what the base was saved in, however slow that is."""
    if settings.device != "cpu":
        return settings.weights
    return dtype_name(choose_dtype(settings.weights, torch.device("cpu")))


def _cache_bytes(settings: EngineSettings, mib: int | None) -> int:
    """For keys and values, or for adapters: what is asked for, or what a small machine can spare.

    Where all that a machine has is taken, Ray ends one of its processes, which may be the router.
    """
    if mib is None and settings.device == "cpu":
        spare = (memory() // MIB - PROCESSES_MIB) // (4 * settings.most_replicas)
        mib = min(max(spare, LEAST_CACHE_MIB), MOST_CACHE_MIB)
    return (mib or MOST_CACHE_MIB) * MIB


def _threads(settings: EngineSettings) -> int:
    """CPU threads. Ray gives an actor those of the CPUs that it reserves, not the machine's."""
    return settings.threads or max(cores() // settings.replicas, 1)
