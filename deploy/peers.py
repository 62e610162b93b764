"""The other routers, as one of them reaches them."""

from collections.abc import Mapping
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException


class Peers:
    """Implements the router's `Peers` over a handle to its own deployment."""

    def __init__(self, handle: Any) -> None:
        """Reach the replicas behind a handle, this one among them."""
        self._handle = handle

    async def expositions(self) -> Mapping[str, bytes]:
        """See `router.service.Peers`."""
        try:
            answers = await self._handle.broadcast("exposition").results_async(
                return_exceptions=True
            )
        except (RayError, RayServeException):
            return {}
        return dict(each for each in answers if isinstance(each, tuple))
