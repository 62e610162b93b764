"""vLLM's own server on CPUs, until it is terminated.

Run as: python vllm_server.py PORT NAME BASE DTYPE THREADS ADAPTER=FOLDER…; without adapters LoRA is
off. NAME is what the base is called.
"""

import os
import sys

from vllm.entrypoints.launchers.api_server.entry import main


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
