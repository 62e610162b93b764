"""How many engine replicas there should be: enough to keep queues and pages in bounds."""

import math
from typing import Any

FILLED = 0.7
"""Of an engine's room for rows, by number and by pages, that is taken when there are enough."""
PRESSURE = "pressure"
UP_SECONDS, DOWN_SECONDS, LOOK_BACK_SECONDS = 10.0, 300.0, 15.0
"""How long a need must last before it is followed, and over how long it is averaged."""


def wanted(pressures: list[float], now: int) -> int:
    """Replicas that would be filled as they should be.

    Args:
        pressures: of each replica that told, its rows over those that it can compute at once.
        now: replicas that there are.
    """
    if not pressures:
        return now
    load = sum(pressures) / len(pressures) * now
    return max(math.ceil(load / FILLED), 1)


def replicas(context: Any) -> tuple[int, dict[str, Any]]:
    """Serve's autoscaling policy; `context` is its `AutoscalingContext`."""
    told = (context.aggregated_metrics or {}).get(PRESSURE, {})
    return wanted(list(told.values()), context.current_num_replicas), {}
