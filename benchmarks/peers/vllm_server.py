"""vLLM's own server on CPUs, until it is terminated.

Run as: python vllm_server.py PORT NAME BASE DTYPE THREADS ADAPTER=FOLDER…; without adapters LoRA is
off. NAME is what the base is called.
"""

import os
import sys
from pathlib import Path

# vLLM asks for Intel's OpenMP library, which it brings along, to be loaded before all else.
OPENMP = Path(sys.prefix, "lib", "libiomp5.so")
if OPENMP.exists() and "LD_PRELOAD" not in os.environ:
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"LD_PRELOAD": str(OPENMP)})

from vllm.entrypoints.launchers.api_server.entry import main  # noqa: E402


def arguments(port: str, name: str, base: str, dtype: str, *adapters: str) -> list[str]:
    """As `vllm serve` takes them: what it does by default, with room for these adapters."""
    told = ["--host", "127.0.0.1", "--port", port, "--model", base, "--served-model-name", name]
    told += ["--dtype", dtype, "--max-model-len", "1024", "--kv-cache-memory-bytes", str(1 << 30)]
    if adapters:
        told += ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", "16"]
        told += ["--lora-modules", *adapters]
    return told


if __name__ == "__main__":
    port, name, base, dtype, threads, *adapters = sys.argv[1:]
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": threads}
    sys.argv[1:] = arguments(port, name, base, dtype, *adapters)
    main()
