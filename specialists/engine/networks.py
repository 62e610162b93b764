"""Which network computes a base: the compiled kernels where they can, torch elsewhere."""

import logging
from pathlib import Path

import torch

from specialists.base import GGUF
from specialists.engine.llama import load_llama
from specialists.engine.native.compile import kernels
from specialists.engine.native.network import NativeNetwork
from specialists.engine.network import Network
from specialists.engine.torch_network import TorchNetwork
from specialists.errors import BaseUnavailable, NoKernels
from specialists.hardware import choose_dtype
from specialists.machine import cores

logger = logging.getLogger(__name__)

SLOWLY = "the base is computed without compiled kernels, slowly: %s"
BITS = {"int8": 8, "int4": 4}
"""Weights that only the kernels compute with."""


def open_network(
    folder: Path, weights: str, device: torch.device, threads: int | None, rows: int = 32
) -> Network:
    """Load a base in transformers' layout.

    Args:
        folder: the base's.
        weights: how they are held: auto, int8, int4, or a dtype.
        device: where they are.
        threads: of a step; None takes one per core.
        rows: in a step, at most, on a GPU.

    Raises:
        BaseUnavailable: the base is not one that is computed, or not with such weights.
    """
    if device.type == "cuda":
        return _on_gpu(folder, choose_dtype(weights, device), device, rows)
    bits = _bits(folder, weights, device)
    if bits is not None:
        try:
            network = NativeNetwork.from_folder(
                folder, kernels(), bits=bits, threads=threads or cores()
            )
            # What torch still does between steps is small, and its threads spin for a while when
            # they are done: they would take the cores from the next step's.
            torch.set_num_threads(1)
            return network
        except NoKernels as error:
            if weights != "auto":
                raise BaseUnavailable(f"weights in {weights} cannot be had: {error}") from error
            logger.warning(SLOWLY, error)
    torch.set_num_threads(threads or cores())
    return TorchNetwork.from_folder(folder, dtype=choose_dtype(weights, device), device=device)


def _on_gpu(folder: Path, dtype: torch.dtype, device: torch.device, rows: int) -> Network:
    try:
        # Triton comes with torch for GPUs, and only with it.
        from specialists.engine.gpu.llama import GpuLlama
        from specialists.engine.gpu.network import GpuNetwork

        llama = load_llama(folder, dtype=dtype, device=device, kind=GpuLlama)
        return GpuNetwork(llama, rows)
    except (ImportError, NoKernels) as error:
        logger.warning(SLOWLY, error)
        return TorchNetwork.from_folder(folder, dtype=dtype, device=device)


def _bits(folder: Path, weights: str, device: torch.device) -> int | None:
    """Bits of weights for the kernels; None where torch computes."""
    if device.type != "cpu":
        return None
    # What llama.cpp has quantised once is not quantised again.
    automatic = 4 if (folder / GGUF).is_file() else 8
    return automatic if weights == "auto" else BITS.get(weights)
