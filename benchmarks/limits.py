"""What this machine could do at most, measured: bytes read and products computed in a second."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from specialists.machine import cores

ROUNDS = 5
MEGABYTES = 256
"""Far more than any cache holds."""
SIZE = 1536
BYTES = 4
"""Products of 8 bits for each of float32 in the same number of instructions that multiply: as many
bytes as fill a vector, in place of floats. Without VNNI others add them, at the same time."""


def bandwidth() -> float:
    """Bytes that all cores together read in a second, in one go."""
    parts = [np.ones(MEGABYTES * 2**20 // 8 // cores(), np.int64) for _ in range(cores())]
    with ThreadPoolExecutor(cores()) as pool:
        return sum(part.nbytes for part in parts) / _fastest(lambda: list(pool.map(np.max, parts)))


def products() -> float:
    """Products of 8 bits, each with its addition, that all cores compute in a second.

    Told by torch's products of float32 and of bytes, which are fast where processors have
    instructions for them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        floats, whole = torch.ones(SIZE, SIZE), torch.ones(SIZE, SIZE, dtype=torch.int8)
        by_floats = BYTES / _fastest(lambda: floats @ floats)
        return SIZE**3 * max(by_floats, 1 / _fastest(lambda: torch._int_mm(whole, whole)))
    finally:
        torch.set_num_threads(before)


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
