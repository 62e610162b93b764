"""What this process may use of its machine."""

import math
import os
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use (control groups, versions 2 and 1)."""
UNBOUNDED = 1 << 62


def cores() -> int:
    """Cores that this process may use: its affinity, and its container's quota if it has one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(allowed or 1, _quota()))


def memory() -> int:
    """Bytes that there are for all processes here: the machine's, or its container's limit."""
    limits = _numbers("memory.max") or _numbers("memory/memory.limit_in_bytes")
    return min([psutil.virtual_memory().total, *limits])


def _quota() -> int:
    """Cores that the control group allows, of a quota and a period in microseconds."""
    cpu = _numbers("cpu.max")
    quota = cpu or [*_numbers("cpu/cpu.cfs_quota_us"), *_numbers("cpu/cpu.cfs_period_us")]
    return math.ceil(quota[0] / quota[1]) if len(quota) == 2 and quota[0] > 0 else UNBOUNDED


def _numbers(file: str) -> list[int]:
    """What a file of the control group holds; nothing where it bounds nothing."""
    try:
        return [int(word) for word in (GROUPS / file).read_text().split()]
    except (OSError, ValueError):
        return []
