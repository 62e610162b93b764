"""What all replicas of a deployment say, without waiting for those that say nothing."""

import asyncio
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

SECONDS = 1.5
"""That a replica has to answer; one that hangs is replaced a minute or two later."""


async def broadcast(handle: Any, method: str) -> list[Any]:
    """What every replica behind a handle answers, but for those that fail or are late."""
    try:
        # Serve's public ways give nothing at all where one replica is late.
        replicas = await handle.broadcast(method)._fetch_replica_results_async()
    except (RayError, RayServeException):
        return []
    if not replicas:
        return []
    asked = [asyncio.ensure_future(each.get_async()) for each in replicas]
    done, late = await asyncio.wait(asked, timeout=SECONDS)
    for each in late:
        each.cancel()
    return [each.result() for each in asked if each in done and each.exception() is None]
