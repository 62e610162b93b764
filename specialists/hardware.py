"""What this machine computes fast: one answer for all who compute."""

import torch

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def fastest_device() -> torch.device:
    """A GPU, where there is one that this process may use."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that `name` (auto, float32, bfloat16, float16) stands for on this hardware.

    `auto` is bfloat16 where the hardware has instructions for it. Where it has none, products are
    emulated: a training step then takes 26 times as long as in float32.
    """
    dtypes = {dtype_name(dtype): dtype for dtype in DTYPES}
    if name in dtypes:
        return dtypes[name]
    return torch.bfloat16 if computes_bfloat16(device) else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """What settings, and others than torch, call it."""
    return str(dtype).removeprefix("torch.")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are computed rather than emulated."""
    if device.type != "cpu":
        return True
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
